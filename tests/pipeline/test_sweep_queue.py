"""Who works on which point, and what becomes of points whose process ended."""

import threading

import pytest

from compressor.locks import hold_folder
from compressor.pipeline.sweep_queue import JOURNAL, Queue

TARGETS = {"0.5": 0.5, "0.25": 0.25}


@pytest.fixture
def queue(tmp_path):
    queue = Queue(tmp_path)
    queue.add(TARGETS, finished=[])
    return queue


def take(queue, names=TARGETS):
    with queue.taken(names) as point:
        return point


def elsewhere(work):
    """The result of ``work`` where none of this thread's locks are known, as in another process."""
    results = []
    thread = threading.Thread(target=lambda: results.append(work()))
    thread.start()
    thread.join()
    return results[0]


def test_points_are_taken_in_their_order_and_once(queue):
    for name in TARGETS:
        with queue.taken(TARGETS) as point:
            assert point.name == name
            queue.finish(point, 0.9, 0.5)
    assert take(queue) is None
    assert queue.pending(TARGETS) == []


def test_a_point_that_somebody_works_on_is_not_taken(queue, tmp_path):
    with queue.taken(TARGETS) as mine:
        theirs = elsewhere(lambda: take(Queue(tmp_path)))
        assert (mine.name, theirs.name) == ("0.5", "0.25")
        # The other one has ended without a result, and only its point is free again.
        assert elsewhere(lambda: take(Queue(tmp_path))).name == "0.25"
        assert queue.pending(TARGETS) == ["0.5", "0.25"]


def test_a_point_whose_process_ended_is_taken_again(queue, tmp_path):
    assert take(queue).name == "0.5"
    assert {take(Queue(tmp_path)).name, take(Queue(tmp_path)).name} <= {"0.5", "0.25"}
    with queue.taken(TARGETS) as point, Queue(tmp_path).taken(TARGETS) as other:
        assert {point.name, other.name} == {"0.5", "0.25"}


def test_a_point_where_another_command_works_is_left_until_it_ends(queue, tmp_path):
    with hold_folder(queue.place("0.5")):
        assert elsewhere(lambda: take(Queue(tmp_path))).name == "0.25"
        assert queue.pending(TARGETS) == ["0.5", "0.25"]
    names = [take(queue).name for _ in range(3)]
    assert "0.5" in names


def test_a_failure_is_kept_with_its_reason_and_tried_again_when_asked(queue):
    with queue.taken(TARGETS) as point:
        queue.fail(point, "no such network")
    assert queue.failures(TARGETS) == {"0.5": "no such network"}
    assert queue.pending(TARGETS) == ["0.25"]
    queue.add(TARGETS, finished=[])
    assert queue.pending(TARGETS) == ["0.5", "0.25"]
    assert queue.failures(TARGETS) == {}


def test_what_is_finished_does_not_wait(tmp_path):
    queue = Queue(tmp_path)
    queue.add(TARGETS, finished=["0.5"])
    assert queue.pending(TARGETS) == ["0.25"]


def test_points_of_an_earlier_command_are_dropped(queue):
    assert take(queue, {"0.25": 0.25}).name == "0.25"
    assert "0.5" in queue.failures(TARGETS)


def test_the_first_settings_bind(tmp_path):
    assert Queue(tmp_path).bind({"seed": 1}) == {"seed": 1}
    assert Queue(tmp_path).bind({"seed": 2}) == {"seed": 1}


def test_no_lock_is_left(queue, tmp_path):
    take(queue)
    assert [path.name for path in tmp_path.iterdir()] == [JOURNAL]
