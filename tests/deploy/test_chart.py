"""The chart: what it renders for each profile, and what it refuses."""
import json
import re
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

import yaml

from rendered import Refused, chart, environment, kustomized, objects, only, options_of_the_program, pods, run, without_helms_own
from variants import CHART, DISTRIBUTIONS, GOLDEN, OVERLAYS, PROFILES, REPOSITORY


def daemon(profile, **values):
    return only(chart(securityProfile=profile, **values), "DaemonSet")["spec"]["template"]


def host_paths(pod):
    return {v["name"]: v["hostPath"] for v in pod["spec"]["volumes"] if "hostPath" in v}


class TestRefusals(unittest.TestCase):
    """Each kind of wrong value, and the words that lead to the right one."""

    WRONG = [
        ({"securityProfile": "jurnal"}, "'/securityProfile': value must be one of 'journal', 'syslog'"),
        ({"securityprofile": "journal"}, "additional properties 'securityprofile' not allowed"),
        ({"image": {"name": "x"}}, "'/image': additional properties 'name' not allowed"),
        ({"image__pullPolicy": "Sometimes"}, "'/image/pullPolicy': value must be one of 'Always'"),
        ({"image__repository": ""}, "'/image/repository'"),
        ({"image__digest": "abc"}, "image.digest is \"abc\": it begins with sha256:"),
        ({"image__tag": 1.2}, "'/image/tag': got number, want string"),
        ({"port": "9909"}, "'/port': got string, want integer"),
        ({"port": 99999}, "'/port': maximum: got 99,999, want 65,535"),
        ({"rbac__create": "yes"}, "'/rbac/create': got string, want boolean"),
        ({"tolerations": {"operator": "Exists"}}, "'/tolerations': got object, want array"),
        ({"resources": {"limit": {}}}, "'/resources': additional properties 'limit' not allowed"),
        ({"podLabels": {"a": 1}}, "'/podLabels/a': got number, want string"),
        ({"pods": "api"}, "'/pods': value must be one of 'auto', 'directory', 'none'"),
        ({"disks": "all"}, "'/disks': value must be one of 'filesystems', 'pods', 'none'"),
        ({"updateStrategy": {"type": "Recreate"}}, "'/updateStrategy/type': value must be one of 'RollingUpdate', 'OnDelete'"),
        ({"extraArgs": "--demonstrate"}, "'/extraArgs': got string, want array"),
        ({"extraEnv": [{"value": "x"}]}, "extraEnv has an entry without a name"),
        ({"networkPolicy__apiServerPorts": ["https"]}, "'/networkPolicy/apiServerPorts/0': got string, want integer"),
        ({"podLogsDir": "pods"}, 'podLogsDir is "pods": give the absolute path'),
        ({"stateDir": "run"}, 'stateDir is "run": give the absolute path'),
        ({"kubeletRootDir": "kubelet"}, 'kubeletRootDir is "kubelet": give the absolute path'),
        ({"runtimeRootDir": ""}, 'runtimeRootDir is "": give the absolute path'),
        ({"imageRootDir": "images"}, 'imageRootDir is "images": give the absolute path'),
        ({"kubeletConfigFile": "config.yaml"}, 'kubeletConfigFile is "config.yaml": give the absolute path'),
        ({"kubeletLog": "file"}, 'kubeletLog is "file": give auto, journal, none, or the absolute path'),
        ({"kubeletUnits": "kubelet.service"}, "'/kubeletUnits': got string, want array"),
        ({"kubeletUnits": ["kubelet.service, k3s"]}, 'kubeletUnits has "kubelet.service, k3s": give the unit\'s name as `systemctl'),
        ({"runtimeUnits": [""]}, 'runtimeUnits has "": give the unit\'s name'),
        ({"kubeletUnits": ["a"], "kubeletLog": "none"}, "not read with kubeletLog none: leave kubeletUnits empty"),
        ({"podLogsDir": "/var/log/../pods"}, "must not contain .. or end with /"),
        ({"kernelLog": "syslog"}, "does not grant CAP_SYSLOG: choose securityProfile syslog"),
        ({"kernelLog": "kmsg", "securityProfile": "syslog"}, "may not open /dev/kmsg: choose securityProfile kmsg"),
        ({"kernelLog": "journal", "securityProfile": "api-only"}, "reads nothing of the node: leave kernelLog empty"),
        ({"kubeletLog": "auto", "securityProfile": "api-only"}, "reads nothing of the node: leave kubeletLog empty"),
        ({"pods": "none", "securityProfile": "api-only"}, "no other source than the API server: set pods to auto"),
        ({"podLogsDir": "/data/pods", "securityProfile": "autopilot"}, "podLogsDir lies outside of /var/log"),
        ({"kubeletLog": "/opt/kubelet.log", "securityProfile": "autopilot"}, "kubeletLog lies outside of /var/log"),
        ({"hostUsers": False, "securityProfile": "syslog"}, "does not work in a user namespace"),
        ({"kubeletApi__enabled": True, "pods": "directory"}, "no token to show the kubelet: set pods to auto"),
        ({"kubeletApi__port": 0}, "'/kubeletApi/port': minimum: got 0, want 1"),
        ({"serviceAccount__automountServiceAccountToken": False}, "asks the API server: set pods to directory"),
    ]

    def test_each_is_refused_with_a_sentence_that_helps(self):
        for values, sentence in self.WRONG:
            with self.subTest(values), self.assertRaises(Refused) as refused:
                chart(**values)
            self.assertIn(sentence, str(refused.exception))

    def test_every_value_is_in_the_schema_and_every_property_has_a_default(self):
        schema = json.loads((CHART / "values.schema.json").read_text())
        values = yaml.safe_load((CHART / "values.yaml").read_text())
        # Not in values.yaml: what a parent chart hands down, and parts of objects that Kubernetes defines.
        free = {"global", "resources.claims", "updateStrategy.rollingUpdate.maxSurge",
                "prometheus.podMonitor.attachMetadata.node"}

        def compare(schema, values, path):
            for name, part in schema.get("properties", {}).items():
                here = f"{path}.{name}".lstrip(".")
                if here in free:
                    continue
                self.assertIn(name, values, f"{here} has no default")
                if isinstance(values[name], dict):
                    compare(part, values[name], here)
        compare(schema, values, "")
        chart()     # and additionalProperties: false holds the other direction


class TestProfiles(unittest.TestCase):
    def test_only_kmsg_is_privileged_and_only_syslog_has_a_capability(self):
        for profile in PROFILES:
            for pod in pods(chart(securityProfile=profile)):
                for container in pod["spec"]["containers"]:
                    with self.subTest(profile, container=container["name"]):
                        context = container["securityContext"]
                        is_agent = container["name"] == "nodewhy"
                        self.assertTrue(context["readOnlyRootFilesystem"])
                        self.assertEqual(context["privileged"], is_agent and profile == "kmsg")
                        if context["privileged"]:
                            continue
                        self.assertFalse(context["allowPrivilegeEscalation"])
                        self.assertEqual(context["capabilities"]["drop"], ["ALL"])
                        self.assertEqual(context["capabilities"].get("add", []), ["SYSLOG"] if is_agent and profile == "syslog" else [])

    def test_no_pod_shares_a_namespace_with_the_host(self):
        for profile in PROFILES:
            for pod in pods(chart(securityProfile=profile)):
                for field in ("hostPID", "hostIPC", "hostNetwork"):
                    self.assertNotIn(field, pod["spec"])
                self.assertEqual(pod["spec"]["securityContext"]["seccompProfile"], {"type": "RuntimeDefault"})

    def test_everything_of_the_host_is_read_only_but_the_state(self):
        for profile in PROFILES:
            pod = daemon(profile)
            names = host_paths(pod)
            for mount in pod["spec"]["containers"][0]["volumeMounts"]:
                if mount["name"] in names and mount["name"] != "state":
                    self.assertTrue(mount["readOnly"], mount)

    def test_what_each_profile_mounts(self):
        logs = {"/var/log", "/run/log"}
        node = {"/proc", "/sys/fs/cgroup", "/var/lib/kubelet/nodewhy", "/var/lib/containerd/nodewhy", "/run/nodewhy"} | logs
        want = {"journal": node, "syslog": node, "kmsg": node | {"/dev/kmsg"}, "api-only": set(), "autopilot": {"/var/log"}}
        for profile in PROFILES:
            self.assertEqual({p["path"] for p in host_paths(daemon(profile)).values()}, want[profile], profile)

    def test_no_path_is_made_on_a_node_by_accident(self):
        """Without a type the runtime makes what is missing: a folder /var/log/journal makes the journal persistent."""
        harmless = ("/run/nodewhy", "/run/log", "/nodewhy", "/logs")
        for file in (None, *DISTRIBUTIONS):
            for path in host_paths(only(chart(*(["--values", file] if file else [])), "DaemonSet")["spec"]["template"]).values():
                self.assertTrue(path["type"] in ("Directory", "File", "CharDevice") or path["path"].endswith(harmless), path)

    def test_api_only_is_restricted(self):
        """The rules of Pod Security's level `restricted` that could be broken here."""
        pod = daemon("api-only")
        context = pod["spec"]["containers"][0]["securityContext"]
        self.assertTrue(context["runAsNonRoot"])
        self.assertEqual(context["runAsUser"], 65532)
        self.assertLessEqual({kind for v in pod["spec"]["volumes"] for kind in v if kind != "name"}, {"emptyDir"})

    def test_only_pods_may_be_listed_and_watched(self):
        for profile in PROFILES:
            rules = only(chart(securityProfile=profile), "ClusterRole")["rules"]
            self.assertEqual(rules, [{"apiGroups": [""], "resources": ["pods"], "verbs": ["list", "watch"]}])

    def test_each_further_right_is_a_get(self):
        rules = only(chart(rbac={"nodes": True, "nodesConfigz": True, "nodesMetrics": True}), "ClusterRole")["rules"]
        self.assertEqual([(r["resources"], r["verbs"]) for r in rules[1:]],
                         [(["nodes"], ["get"]), (["nodes/configz"], ["get"]), (["nodes/metrics"], ["get"])])

    def test_the_kubelets_api_is_asked_at_the_nodes_address_with_two_rights_more(self):
        self.assertNotIn("NODEWHY_KUBELET_API", environment(daemon("journal")))
        rendered = chart(kubeletApi__enabled=True)
        rules = only(rendered, "ClusterRole")["rules"][1:]
        self.assertEqual([(r["resources"], r["verbs"]) for r in rules], [(["nodes/configz"], ["get"]), (["nodes/metrics"], ["get"])])
        pod = only(rendered, "DaemonSet")["spec"]["template"]
        variables = pod["spec"]["containers"][0]["env"]
        names = [v["name"] for v in variables]
        self.assertLess(names.index("HOST_IP"), names.index("NODEWHY_KUBELET_API"), "it is only known to what follows it")
        self.assertEqual(next(v for v in variables if v["name"] == "HOST_IP")["valueFrom"], {"fieldRef": {"fieldPath": "status.hostIP"}})
        self.assertEqual(environment(pod)["NODEWHY_KUBELET_API"], "https://$(HOST_IP):10250")
        self.assertNotIn("NODEWHY_KUBELET_INSECURE_SKIP_VERIFY", names, "never unless it is said")
        names = environment(daemon("journal", kubeletApi={"enabled": True, "insecureSkipVerify": True}))
        self.assertEqual(names["NODEWHY_KUBELET_INSECURE_SKIP_VERIFY"], "true")
        ports = only(chart(kubeletApi__enabled=True, networkPolicy__enabled=True), "NetworkPolicy")["spec"]["egress"][0]["ports"]
        self.assertIn(10250, [p["port"] for p in ports])

    def test_without_the_api_server_there_is_no_token_and_no_right(self):
        rendered = chart(pods="directory", serviceAccount__automountServiceAccountToken=False)
        self.assertFalse(only(rendered, "DaemonSet")["spec"]["template"]["spec"]["automountServiceAccountToken"])
        self.assertFalse([o for o in rendered if o["kind"].startswith("ClusterRole")])

    def test_the_program_knows_every_variable(self):
        for profile in PROFILES:
            names = set(environment(daemon(profile, findings={"tokenSecret": {"name": "t"}})))
            self.assertLessEqual(names, options_of_the_program())

    def test_disks_are_mounted_whole_only_when_asked_for(self):
        whole = daemon("journal", disks="pods", kubeletConfigFile="/var/lib/kubelet/config.yaml")
        self.assertEqual(environment(whole)["NODEWHY_KUBELET_ROOT"], "/var/lib/kubelet")
        # An unmount on the host has to reach the agent, or the volume stays busy.
        mounts = {m["name"]: m for m in whole["spec"]["containers"][0]["volumeMounts"]}
        for name in ("kubelet-disk", "runtime-disk"):
            self.assertEqual(mounts[name]["mountPropagation"], "HostToContainer")
        self.assertNotIn("kubelet-config", mounts, "it is inside of what is mounted")
        self.assertNotIn("/var/lib/kubelet", {p["path"] for p in host_paths(daemon("journal")).values()})

    def test_images_of_their_own_are_a_folder_that_says_nothing_but_how_full_it_is(self):
        for disks in ("filesystems", "pods"):
            pod = daemon("journal", disks=disks, imageRootDir="/images")
            self.assertEqual(environment(pod)["NODEWHY_IMAGE_ROOT"], "/images/nodewhy")
            self.assertEqual(host_paths(pod)["image-disk"]["path"], "/images/nodewhy")
        self.assertNotIn("image-disk", host_paths(daemon("journal", disks="none", imageRootDir="/images")))
        self.assertNotIn("NODEWHY_IMAGE_ROOT", environment(daemon("journal")))

    def test_disks_that_are_not_mounted_are_not_looked_for(self):
        """They would be reported as missing for ever."""
        for profile in PROFILES:
            for disks in ("filesystems", "pods", "none"):
                pod = daemon(profile, disks=disks)
                mounted = "kubelet-disk" in host_paths(pod)
                self.assertEqual(environment(pod).get("NODEWHY_DISKS"), None if mounted else "none", (profile, disks))

    def test_the_kubelets_own_file_is_mounted_by_its_folder(self):
        pod = daemon("journal", kubeletLog="/var/lib/rancher/rke2/agent/logs/kubelet.log")
        self.assertEqual(host_paths(pod)["kubelet-log"]["path"], "/var/lib/rancher/rke2/agent/logs")
        self.assertNotIn("kubelet-log", host_paths(daemon("journal", kubeletLog="/var/log/kubelet.log")))

    def test_units_are_named_only_where_somebody_names_them(self):
        told = environment(daemon("journal", kubeletUnits=["node-agent", "a\\x2db.service"], runtimeUnits=["our-containerd"]))
        self.assertEqual(told["NODEWHY_KUBELET_UNIT"], "node-agent,a\\x2db.service")
        self.assertEqual(told["NODEWHY_RUNTIME_UNIT"], "our-containerd")
        self.assertFalse({"NODEWHY_KUBELET_UNIT", "NODEWHY_RUNTIME_UNIT"} & set(environment(daemon("journal"))))


class TestObjects(unittest.TestCase):
    def test_series_keep_their_labels_and_get_the_node(self):
        monitor = only(chart(prometheus__podMonitor__enabled=True), "PodMonitor")
        endpoint = monitor["spec"]["podMetricsEndpoints"][0]
        self.assertTrue(endpoint["honorLabels"])
        self.assertIn({"sourceLabels": ["__meta_kubernetes_pod_node_name"], "targetLabel": "node"}, endpoint["relabelings"])
        self.assertIn({"action": "labeldrop", "regex": "namespace|pod|container"}, endpoint["relabelings"])
        template = only(chart(), "DaemonSet")["spec"]["template"]
        self.assertIn(endpoint["port"], [p["name"] for p in template["spec"]["containers"][0]["ports"]])
        self.assertLessEqual(monitor["spec"]["selector"]["matchLabels"].items(), template["metadata"]["labels"].items())

    def test_selectors_do_not_follow_labels_that_change(self):
        """A DaemonSet's selector cannot be changed: an upgrade would be refused."""
        names = {"app.kubernetes.io/name", "app.kubernetes.io/instance"}
        rendered = chart(commonLabels={"a": "b"}, podLabels={"c": "d"})
        self.assertEqual(set(only(rendered, "DaemonSet")["spec"]["selector"]["matchLabels"]), names)
        self.assertEqual(only(rendered, "DaemonSet")["spec"]["template"]["metadata"]["labels"]["c"], "d")

    def test_the_service_finds_the_agents_and_not_the_test(self):
        rendered = chart()
        selector = only(rendered, "Service")["spec"]["selector"]
        found = [p for p in pods(rendered) if selector.items() <= p["metadata"]["labels"].items()]
        self.assertEqual(len(found), 1)

    def test_the_network_policy_lets_in_monitoring_and_the_test(self):
        rendered = chart(networkPolicy__enabled=True)
        policy = only(rendered, "NetworkPolicy")["spec"]
        test = only(rendered, "Pod")
        labels = policy["ingress"][0]["from"][0]["podSelector"]["matchLabels"]
        self.assertLessEqual(labels.items(), test["metadata"]["labels"].items())
        self.assertEqual(policy["ingress"][0]["ports"], [{"port": "metrics", "protocol": "TCP"}])

    def test_the_quota_is_of_the_class_that_is_used(self):
        quota = only(chart(priorityClassQuota=True), "ResourceQuota")
        self.assertEqual(quota["spec"]["scopeSelector"]["matchExpressions"][0]["values"], ["system-node-critical"])
        self.assertFalse([o for o in chart(priorityClassQuota=True, priorityClassName="") if o["kind"] == "ResourceQuota"])

    def test_an_image_by_digest_and_registry(self):
        digest = "sha256:" + "0" * 64
        pod = daemon("journal", image={"registry": "r.example/a", "digest": digest})
        self.assertEqual(pod["spec"]["containers"][0]["image"], f"r.example/a/nodewhy@{digest}")

    def test_names_of_two_releases_do_not_collide(self):
        names = lambda namespace: {o["metadata"]["name"] for o in objects(  # noqa: E731
            run("helm", "template", "nodewhy", CHART, "--namespace", namespace)) if o["kind"].startswith("Cluster")}
        self.assertFalse(names("one") & names("two"))

    def test_extra_manifests_are_templates(self):
        rendered = chart(extraManifests=[{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "{{ .Release.Name }}-x"}}])
        self.assertEqual(only(rendered, "ConfigMap")["metadata"]["name"], "nodewhy-x")

    def test_versions_are_the_programs(self):
        cargo = re.search(r'^version = "(.*)"', (REPOSITORY / "Cargo.toml").read_text(), re.M)[1]
        self.assertEqual(re.search(r"^appVersion: (\S+)", (CHART / "Chart.yaml").read_text(), re.M)[1], cargo)

    def test_alerts_and_dashboards_are_packed(self):
        rendered = chart(prometheus__rules__enabled=True, grafana__dashboards__enabled=True)
        rules = [o for o in rendered if o["kind"] == "PrometheusRule"]
        boards = [o for o in rendered if o["kind"] == "ConfigMap"]
        self.assertEqual(len(rules), len(list((REPOSITORY / "deploy/prometheus/rules").glob("*.yaml"))))
        self.assertEqual(len(boards), len(list((REPOSITORY / "dashboards").glob("*.json"))))
        for rule in rules:
            self.assertTrue(rule["spec"]["groups"])
        for board in boards:
            self.assertEqual(board["metadata"]["labels"]["grafana_dashboard"], "1")


class TestGenerated(unittest.TestCase):
    def test_helm_has_nothing_to_complain_of(self):
        run("helm", "lint", "--strict", CHART)

    def test_what_is_generated_is_up_to_date(self):
        with tempfile.TemporaryDirectory() as folder:
            folder = Path(folder)
            for part in ("deploy", "tests/deploy/golden", "dashboards"):
                if (REPOSITORY / part).exists():
                    shutil.copytree(REPOSITORY / part, folder / part)
            subprocess.run([REPOSITORY / "deploy/generate", folder], check=True)
            for part in ("deploy", "tests/deploy/golden"):
                done = subprocess.run(["diff", "--recursive", REPOSITORY / part, folder / part], capture_output=True, text=True)
                self.assertFalse(done.stdout, f"run deploy/generate:\n{done.stdout[:4000]}")

    def test_every_overlay_is_what_the_chart_makes_of_its_distribution(self):
        names = {file.stem for file in DISTRIBUTIONS}
        self.assertEqual({folder.name for folder in OVERLAYS.iterdir()}, names)
        for file in DISTRIBUTIONS:
            key = lambda o: (o["kind"], o["metadata"]["name"])  # noqa: E731
            made = {key(o): without_helms_own(o) for o in kustomized(OVERLAYS / file.stem) if o["kind"] != "Namespace"}
            rendered = {key(o): without_helms_own(o) for o in chart("--values", file, "--skip-tests")}
            with self.subTest(file.stem):
                self.assertEqual(made, rendered)

    def test_each_golden_file_has_its_values(self):
        self.assertEqual({f.stem for f in GOLDEN.glob("*.yaml") if not f.name.endswith(".values.yaml")},
                         {f.name.removesuffix(".values.yaml") for f in GOLDEN.glob("*.values.yaml")})


if __name__ == "__main__":
    unittest.main()
