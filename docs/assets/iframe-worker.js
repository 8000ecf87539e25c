// Browsers start no worker from a folder (file:), so there the search runs in a hidden frame.
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(url) {
      super();
      this.frame = document.createElement("iframe");
      this.frame.hidden = true;
      document.body.append(this.frame);
      const inner = this.frame.contentWindow;
      inner.postMessage = (data) => this.dispatchEvent(new MessageEvent("message", { data }));
      const script = inner.document.createElement("script");
      this.ready = new Promise((done) => { script.onload = done; });
      script.src = url;
      inner.document.body.append(script);
    }

    postMessage(data) {
      const tell = () => this.frame.contentWindow.dispatchEvent(new MessageEvent("message", { data }));
      this.ready.then(tell);
    }

    terminate() {
      this.frame.remove();
    }
  };
}
