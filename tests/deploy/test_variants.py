"""Every variant that is shipped, against the definitions of Kubernetes and of the operators. (The tests on a real
Kubernetes ask a real API server as well.)"""
import pathlib
import tempfile
import unittest

import yaml

import schemas
import variants
from rendered import objects

# What the oldest Kubernetes cannot have, and is off by default.
YOUNGER = {"ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"}


class TestVariants(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.folder = pathlib.Path(folder.name)
        cls.variants = {name: variants.printed(command) for name, command in variants.all_of_them()}
        schemas.write(cls.folder, {o["kind"] for text in cls.variants.values() for o in objects(text)})

    def test_definitions_are_those_of_the_newest_and_the_oldest(self):
        self.assertEqual(len(schemas.VERSIONS), 2, schemas.DEFINITIONS)

    def test_each_has_only_fields_that_there_are(self):
        newest = schemas.VERSIONS[-1]
        kinds = set()
        for name, text in self.variants.items():
            with self.subTest(name):
                found, valid = schemas.complaints(self.folder, text, newest)
                self.assertEqual(found, [])
                self.assertEqual(valid, len(objects(text)))
                kinds |= {o["kind"] for o in objects(text)}
        # All that the templates can make were among them.
        self.assertLessEqual({"PodMonitor", "PrometheusRule", "ClusterPolicy", "SecurityContextConstraints", "VerticalPodAutoscaler",
                              "ValidatingAdmissionPolicy", "NetworkPolicy", "ResourceQuota", "ConfigMap", "Service"}, kinds)

    def test_the_oldest_kubernetes_knows_what_every_profile_and_distribution_renders(self):
        for name in [f"profile-{p}" for p in variants.PROFILES] + [n for n in self.variants if n.startswith("distribution-")]:
            with self.subTest(name):
                self.assertEqual(schemas.complaints(self.folder, self.variants[name], schemas.VERSIONS[0])[0], [])
        policies = [n for n, text in self.variants.items() if {o["kind"] for o in objects(text)} & YOUNGER]
        self.assertEqual(policies, ["everything", "validating-admission-policy-journal", "validating-admission-policy-syslog"])

    def test_a_field_that_there_is_not_is_found(self):
        """Also deep inside, and in what an operator defines."""
        pod = next(o for o in objects(self.variants["profile-journal"]) if o["kind"] == "DaemonSet")
        pod["spec"]["template"]["spec"]["containers"][0]["readinesProbe"] = {}
        monitor = next(o for o in objects(self.variants["everything"]) if o["kind"] == "PodMonitor")
        monitor["spec"]["podMetricsEndpoints"][0]["honourLabels"] = True
        for wrong in (pod, monitor):
            found, valid = schemas.complaints(self.folder, yaml.safe_dump(wrong), schemas.VERSIONS[-1])
            self.assertEqual(([1], 0), ([len(found)], valid), found)


if __name__ == "__main__":
    unittest.main()
