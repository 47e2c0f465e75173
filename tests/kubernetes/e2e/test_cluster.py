import unittest

from e2e.cluster import newest_has_ended

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


if __name__ == "__main__":
    unittest.main()
