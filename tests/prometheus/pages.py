"""Metrics pages of many agents, as full nodes write them, on one port: /0, /1, /2 ...

A node has 80 pods with 2 containers each, which makes about 2,500 series. Pods belong to workloads that run on many nodes, and
crash as in the simulation's noisy hour, so that the rules' joins have their real size. Amounts of memory change with every
scrape; the rest changes rarely, as it does in life.
"""
import http.server
import itertools
import threading

import numpy as np

PODS, CONTAINERS, DAEMONSETS = 80, 2, 8
CRASHING = 0.01             # share of pods that crashed in the last hour
BAD_NODE, BAD_SHARE = 0, 0.5

CAUSES = ("oom_container_limit oom_pod_limit oom_node oom_child_process liveness_probe startup_probe evicted_memory evicted_disk "
          "image_pull config_error volume_mount sandbox_network app_error app_panic segfault killed disk_full storage_error "
          "node_rebooted runtime_restarted kubelet_restarted runtime_down pleg_unhealthy network_not_ready kernel_fault unknown").split()
SOURCES = "kernel_log kubelet_log cgroups processes node_memory pods pod_logs disks pressure".split()
STATES = "up absent unreadable stale failing".split()
TICK = b"@@@@@@@@@@"        # replaced by what grows with every scrape


def pages(agents, seed=1):
    """The page of each agent."""
    random = np.random.default_rng(seed)
    # As many Deployments as make their median of replicas 4.
    deployments = max(1, agents * (PODS - DAEMONSETS) // 8)
    chosen = random.integers(deployments, size=(agents, PODS - DAEMONSETS))
    crashed = random.random((agents, PODS)) < CRASHING
    crashed[BAD_NODE] |= random.random(PODS) < BAD_SHARE
    return [page(node, chosen[node], crashed[node]) for node in range(agents)]


def page(node, deployments, crashed):
    workloads = [("DaemonSet", f"agent-{i}") for i in range(DAEMONSETS)] + [("Deployment", f"service-{d}") for d in deployments]
    lines = [*of_the_node(node), *of_workloads(workloads, crashed)]
    for pod, (kind, name) in enumerate(workloads):
        for container in range(CONTAINERS):
            lines += of_container(f'namespace="team-{hash_of(name)}",pod="{name}-{node:04}-{pod:02}x7k",container="c{container}"')
    for pod, (kind, name) in enumerate(workloads):
        for container in range(CONTAINERS):
            labels = f'namespace="team-{hash_of(name)}",workload_kind="{kind}",workload="{name}",container="c{container}"'
            ends = 12 if crashed[pod] and not container else 0
            lines += [f'nodewhy_container_terminations_total{{{labels},cause="app_error"}} {ends}',
                      f'nodewhy_container_terminations_total{{{labels},cause="oom_container_limit"}} 0',
                      f'nodewhy_workload_oom_kills_total{{{labels},victim="init",cause="oom_container_limit"}} 0']
    # Two pods of one workload on a node share its series.
    return "\n".join(dict.fromkeys(lines)).encode() + b"\n"


def hash_of(name):
    return sum(name.encode()) % 50


def of_the_node(node):
    yield 'nodewhy_build_info{version="0.1.0"} 1'
    for source in SOURCES:
        yield f'nodewhy_source_up{{source="{source}"}} 1'
        yield f'nodewhy_source_records_total{{source="{source}"}} {TICK.decode()}'
        for state in STATES:
            yield f'nodewhy_source_state{{source="{source}",state="{state}"}} {int(state == "up")}'
    for cause in CAUSES:
        yield f'nodewhy_findings{{cause="{cause}",state="open"}} 0'
        yield f'nodewhy_findings_opened_total{{cause="{cause}"}} 0'
    for scope in ("container", "pod", "qos_class", "node_allocatable", "node", "host_service"):
        yield f'nodewhy_oom_kills_total{{scope="{scope}",cause="oom_child_process"}} 0'
    yield "nodewhy_kubelet_restarts_total 0"
    for signal in ("memory.available", "nodefs.available", "imagefs.available"):
        yield f'nodewhy_eviction_available_bytes{{signal="{signal}"}} 5{TICK.decode()}'
        yield f'nodewhy_eviction_threshold_bytes{{signal="{signal}"}} 104857600'
    for signal in ("memory", "disk", "inodes", "pids", "ephemeral_storage"):
        yield f'nodewhy_pod_evictions_total{{signal="{signal}"}} 0'
    for result in ("explained", "ambiguous", "unexplained"):
        yield f'nodewhy_correlations_total{{result="{result}"}} 3'


def of_workloads(workloads, crashed):
    sums = {}
    for (kind, name), has_crashed in zip(workloads, crashed):
        pods, bad = sums.get((kind, name), (0, 0))
        sums[kind, name] = pods + 1, bad + int(has_crashed)
    for (kind, name), (pods, bad) in sums.items():
        labels = f'namespace="team-{hash_of(name)}",workload_kind="{kind}",workload="{name}"'
        yield f"nodewhy_workload_pods{{{labels}}} {pods}"
        if bad:
            yield f"nodewhy_workload_crashed_pods{{{labels}}} {bad}"


def of_container(labels):
    tick = TICK.decode()
    yield f"nodewhy_container_memory_usage_bytes{{{labels}}} 1{tick}"
    yield f"nodewhy_container_memory_limit_bytes{{{labels}}} 536870912"
    for kind in ("anon", "file", "shmem", "kernel"):
        yield f'nodewhy_container_memory_bytes{{{labels},kind="{kind}"}} 2{tick}'
    yield f"nodewhy_container_memory_rss_bytes{{{labels}}} 3{tick}"
    yield f"nodewhy_container_memory_peak_bytes{{{labels}}} 400000000"
    yield f"nodewhy_container_pids{{{labels}}} 12"
    yield f"nodewhy_container_cpu_throttled_seconds_total{{{labels}}} 0"
    yield f"nodewhy_container_memory_pressure_seconds_total{{{labels}}} 0"


def serve(agents):
    """Starts the server; returns its port and how many series a page has on average."""
    texts, ticks = pages(agents), itertools.count(1)

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            body = texts[int(self.path[1:])].replace(TICK, b"%010d" % (next(ticks) * 7919 % 10**9))
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_port, sum(text.count(b"\n") for text in texts) / agents
