from __future__ import annotations

from pycloudlib.ec2.instances.boot_timeline import TimelineRecorder


class Clock:
    def __init__(self) -> None:
        self.time = 100.0

    def now(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.time += seconds


def test_only_the_first_time_counts() -> None:
    clock = Clock()
    stages: list[tuple[str, float]] = []
    recorder = TimelineRecorder(lambda *stage: stages.append(stage), clock)
    for _ in range(2):
        clock.sleep(1)
        recorder.reach("running")
    assert (recorder.timeline.running, recorder.timeline.ready) == (1.0, None)
    assert stages == [("running", 1.0)]


def test_contacts_with_the_boot_before_do_not_count() -> None:
    clock = Clock()
    recorder = TimelineRecorder(lambda *_: None, clock)
    recorder.contact("reachable")
    recorder.drop_contacts()
    clock.sleep(5)
    recorder.contact("reachable")
    clock.sleep(1)
    recorder.contact("reachable")
    recorder.contact("logged_in")
    assert recorder.timeline.reachable is None
    recorder.confirm_contacts()
    assert (recorder.timeline.reachable, recorder.timeline.logged_in) == (5.0, 6.0)
