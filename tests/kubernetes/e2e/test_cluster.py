import unittest
from unittest import mock

from e2e.cluster import eventually, newest_has_ended

MADE_UP = {"terminated": {"reason": "ContainerStatusUnknown", "exitCode": 137}}


def ended(id):
    return {"terminated": {"reason": "Error", "exitCode": 1, "containerID": id}}


class Ends(unittest.TestCase):
    def test_the_newest_instance_has_ended_or_not(self):
        self.assertFalse(newest_has_ended({"state": {"running": {}}, "lastState": ended("a"), "containerID": "b"}))
        self.assertTrue(newest_has_ended({"state": ended("b"), "lastState": ended("a"), "containerID": "b"}))
        self.assertTrue(newest_has_ended({"state": {"waiting": {}}, "lastState": ended("b"), "containerID": "b"}))
        self.assertFalse(newest_has_ended({"state": {"waiting": {}}, "containerID": "b"}))

    def test_an_end_that_is_made_up_twice_is_one(self):
        self.assertTrue(newest_has_ended({"state": MADE_UP, "lastState": {}}))
        self.assertTrue(newest_has_ended({"state": MADE_UP, "lastState": ended("a")}))
        self.assertFalse(newest_has_ended({"state": MADE_UP, "lastState": MADE_UP}))


@mock.patch("time.sleep", lambda _: None)
class Patience(unittest.TestCase):
    def test_looks_three_times_however_long_a_look_takes(self):
        looks = iter([["not yet"], ["nearly"], []])
        self.assertEqual(eventually(0, lambda: next(looks)), [])

    def test_what_is_wrong_at_the_end_is_told(self):
        looks = iter([["a"], ["b"], ["c"]])
        self.assertEqual(eventually(0, lambda: next(looks)), ["c"])

    def test_an_api_that_fails_is_a_problem(self):
        def refused():
            raise OSError("refused")
        self.assertIn("refused", eventually(0, refused)[0])


if __name__ == "__main__":
    unittest.main()
