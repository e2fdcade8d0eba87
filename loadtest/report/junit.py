"""A summary as JUnit's XML, in which CI systems show one test case per objective."""

import re
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from common.verdicts import Verdict
from loadtest.judge.summary import Finding, Summary
from loadtest.report.headline import headline
from loadtest.report.words import verdict_of

# Characters that XML cannot contain.
UNWRITABLE = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def to_junit(summary: Summary) -> bytes:
    """Return the XML. BREACH and INCONCLUSIVE are failures; INVALID and NOT_READY put every objective in error."""
    suite = Element("testsuite")
    name = f"loadtest.{summary.plan.gate or summary.plan.shape}"
    for finding in summary.findings:
        case = SubElement(suite, "testcase", classname=name, name=title(finding), time="0")
        judge(case, verdict_of(finding, summary), finding.sentence, summary)
    if not summary.findings:
        judge(SubElement(suite, "testcase", classname=name, name="load", time="0"), summary.verdict, "", summary)
    for key, value in (
        ("name", name),
        ("tests", len(suite)),
        ("failures", len(suite.findall("testcase/failure"))),
        ("errors", len(suite.findall("testcase/error"))),
        ("skipped", 0),
        ("time", f"{summary.duration:.3f}"),
        ("timestamp", summary.started),
    ):
        suite.set(key, str(value))
    root = Element("testsuites")
    root.append(suite)
    for part in root.iter():
        part.text = part.text and writable(part.text)
        part.attrib.update({key: writable(value) for key, value in part.attrib.items()})
    indent(root)
    written: bytes = tostring(root, encoding="utf-8", xml_declaration=True)
    return written


def title(finding: Finding) -> str:
    return finding.name if finding.stage == "all" else f"{finding.name}, {finding.stage}"


def judge(case: Element, verdict: Verdict, sentence: str, summary: Summary) -> None:
    match verdict:
        case Verdict.PASS:
            pass
        case Verdict.BREACH | Verdict.INCONCLUSIVE:
            SubElement(case, "failure", type=verdict.lower(), message=sentence or headline(summary))
        case Verdict.INVALID | Verdict.NOT_READY:
            error = SubElement(case, "error", type=verdict.lower(), message=headline(summary))
            error.text = "\n".join(summary.reasons)


def writable(text: str) -> str:
    return UNWRITABLE.sub("\ufffd", text)
