"""The words of a complaint about a policy file, to the letter: people act on them."""

import pytest
from test_build import BAD

from resilience import Policy, PolicyError

WORDS = """
top key  ->  codez: unknown key 'codez' (= {}) (did you mean 'codes'?)
top key that is near nothing  ->  zzz: unknown key 'zzz' (= 1) (known: codes, docs, endpoints, envelope, exceptions, extends, families, groups, hosts, http, name, unknown)
no name  ->  name: '' is not the name of a policy
name is a number  ->  name: 3 is not text
hosts is text  ->  hosts: 'api' is not an array of texts
codes is an array  ->  codes: [1] is not a table
code is text  ->  codes.1: 'fatal' is not a table
code is a number  ->  codes: 429 is not text: keys, codes too, are texts such as '0429'
no verdict  ->  codes.1.verdict: None is not one of success, retryable, quota, fatal
verdict  ->  codes.1.verdict: 'quotta' is not one of success, retryable, quota, fatal (did you mean 'quota'?)
kind  ->  codes.1.recovers: 'exausted' is not one of window, cooldown, exhausted, capacity (did you mean 'exhausted'?)
kind of a fatal  ->  codes.1.recovers: 'window' is not for verdict 'fatal': only quota recovers
scope  ->  codes.1.scope: 'acount' is not one of request, endpoint, account (did you mean 'account'?)
certainty  ->  codes.1.certainty: 'maybe_execute' is not one of not_executed, maybe_executed, executed (did you mean 'maybe_executed'?)
negative wait  ->  codes.1.wait: -1 is not a number above 0
wait is a boolean  ->  codes.1.wait: True is not a number above 0
wait is NaN  ->  codes.1.wait: nan is not a number above 0
wait is endless  ->  codes.1.wait: inf is not a number above 0
wait is text  ->  codes.1.wait: '1s' is not a number above 0
negative schedule  ->  codes.1.wait: {'backoff': 'expo', 'factor': -1} is not a schedule: backoff.expo(factor=-1) failed: a delay of -1.0 s
time of day  ->  codes.1.wait.until: '25:00' is not a time of day such as '00:00', or 'midnight'
offset  ->  codes.1.wait.until: '10:00+02:00' is not a time of day such as '00:00', or 'midnight'
zone  ->  codes.1.wait.tz: 'Asia/Shangai' is not a known time zone such as 'Asia/Shanghai'
calendar's key  ->  codes.1.wait.zone: unknown key 'zone' (= 'UTC') (known: tz, until)
jitter  ->  codes.1.jitter: 'ful' is not one of full, equal, none (did you mean 'full'?)
no attempts  ->  codes.1.max_attempts: 0 is not a whole number above 0
half attempts  ->  codes.1.max_attempts: 2.5 is not a whole number above 0
probe  ->  codes.1.probe_every: 0 is not a number above 0
duplicate  ->  codes.1.duplicate: 'yes' is not true or false
title  ->  codes.1.title: 3 is not text
rule's key  ->  codes.1.remdy: unknown key 'remdy' (= 'x') (did you mean 'remedy'?)
escalate's key  ->  codes.1.escalate.rejection: unknown key 'rejection' (= 3) (did you mean 'rejections'?)
escalate to  ->  codes.1.escalate.to: 'fatal' is not one of exhausted
aliases is text  ->  codes.1.aliases: '2' is not an array of texts
alias of itself  ->  codes.1.aliases[0]: '1' is not free: codes.1 is listed itself
alias twice  ->  codes.2.aliases[0]: '3' is not free: codes.1 has it too
when is a table  ->  codes.1.when: {'message': 'x'} is not an array of tables ([[when]])
when without a condition  ->  codes.1.when[0]: 'no condition' is not reachable: give message, status or endpoint
status is text  ->  codes.1.when[0].status: '503' is not a whole number above 0
endpoint of a condition  ->  codes.1.when[0].endpoint: 'lst' is not the name of an endpoint (did you mean 'list'?)
alias in a condition  ->  codes.1.when[0].aliases: unknown key 'aliases' (= ['2']) (known: certainty, docs, duplicate, edition, endpoint, escalate, jitter, max_attempts, message, probe_every, recovers, remedy, scope, status, title, verdict, wait)
endpoints is a table  ->  endpoints: {'list': {}} is not an array of tables ([[endpoints]])
endpoint without a name  ->  endpoints[0].name: '' is not the name of an endpoint
endpoint twice  ->  endpoints[1].name: 'a' is not free: another endpoint is called so
match  ->  endpoints[0].match[0]: '/x' is not a method and a path, such as 'POST */list_videos'
repeat  ->  endpoints[0].repeat: 'save' is not one of safe, once, never (did you mean 'safe'?)
endpoint's duplicate  ->  endpoints[0].duplicate: 'ok' is not one of done, error
limit  ->  endpoints[0].limit.calls: 0 is not a number above 0
limit's key  ->  endpoints[0].limit.cals: unknown key 'cals' (= 1) (did you mean 'calls'?)
pointer  ->  envelope[0].required: 'code' is not a JSON pointer such as '/code'
pointer is a number  ->  envelope[0].code: 3 is not a JSON pointer such as '/code'
envelope's key  ->  envelope[0].sucess: unknown key 'sucess' (= ['0']) (did you mean 'success'?)
flag without a place  ->  envelope[0].failed_when[0].at: '' is not a JSON pointer such as '/success'
flag equals a list  ->  envelope[0].failed_when[0].equals: [1] is not a text, a number, true or false
group's name  ->  groups.account: 'account' is not a free name: it is a scope of its own
group's member  ->  groups.g: 'lst' is not the name of an endpoint (did you mean 'list'?)
wide family  ->  families.4xx.scope: 'account' is not 'request': a family may not speak for more
family's alias  ->  families.4xx.aliases: unknown key 'aliases' (= ['5xx']) (known: certainty, docs, edition, escalate, jitter, max_attempts, probe_every, recovers, remedy, scope, title, verdict, wait)
wide class of statuses  ->  http.5xx.scope: 'account' is not 'request': a family may not speak for more
status  ->  http.50: '50' is not a status such as '503', or a class such as '5xx'
exception  ->  exceptions.OSError.verdict: 'no' is not one of success, retryable, quota, fatal
wide unknown  ->  unknown.scope: 'account' is not 'request': unknown may not speak for more
extends is a number  ->  extends: 3 is not the name or path of a policy
"""
CASES = {case.id: case.values[0] for case in BAD}
SAID = [line.split("  ->  ") for line in WORDS.strip().splitlines()]


@pytest.mark.parametrize(("case", "words"), SAID, ids=[case for case, _ in SAID])
def test_complaints_to_the_letter(case, words):
    """Key, value, what was expected, and the near miss or all that is known."""
    with pytest.raises(PolicyError) as caught:
        Policy.from_dict({"name": "mine", **CASES[case]}, source="my.toml")

    assert str(caught.value) == f"my.toml: {words}"


def test_a_value_is_shown_up_to_eighty_letters():
    """Of a longer one the beginning."""
    for count, shown in ((78, repr("x" * 78)), (79, "'" + "x" * 76 + "...")):
        with pytest.raises(PolicyError) as caught:
            Policy.from_dict({"name": "mine", "hosts": "x" * count}, source="my.toml")
        assert str(caught.value) == f"my.toml: hosts: {shown} is not an array of texts"
