"""What the manifests promise and no schema checks.

Each rule looks at all objects of one rendered kustomization and yields complaints. Beside each stand breakers: changes
that the rule must complain of, so that a rule which never fires is noticed.
"""

import re


def kind(objects, wanted):
    return [o for o in objects if o["kind"] == wanted]


def one(objects, wanted, name):
    found = [o for o in kind(objects, wanted) if o["metadata"]["name"] == name]
    assert len(found) == 1, f"expected one {wanted} named {name}, found {len(found)}"
    return found[0]


def coordinator(objects):
    return one(objects, "Deployment", "limbic-coordinator")


def worker(objects):
    return one(objects, "Job", "limbic-worker")


def pods(objects):
    """(owner, pod spec, pod labels) of everything that starts pods."""
    for o in objects:
        if o["kind"] in ("Deployment", "StatefulSet", "Job", "DaemonSet"):
            template = o["spec"]["template"]
            yield f"{o['kind']}/{o['metadata']['name']}", template["spec"], template["metadata"]["labels"]


def containers(objects):
    for owner, pod, _ in pods(objects):
        for container in pod.get("initContainers", []) + pod["containers"]:
            yield f"{owner}/{container['name']}", container


def chosen(selector, labels):
    """Whether a label selector chooses a pod with these labels."""
    fits = all(labels.get(k) == v for k, v in selector.get("matchLabels", {}).items())
    for expression in selector.get("matchExpressions", []):
        assert expression["operator"] == "In", f"this check knows no operator {expression['operator']}"
        fits = fits and labels.get(expression["key"]) in expression["values"]
    return fits


def restricted(objects):
    for owner, pod, _ in pods(objects):
        security = pod.get("securityContext", {})
        if security.get("runAsNonRoot") is not True or not security.get("runAsUser"):
            yield f"{owner}: runs as root, or as nobody in particular"
        if security.get("seccompProfile") != {"type": "RuntimeDefault"}:
            yield f"{owner}: no seccomp profile"
        for shared in ("hostNetwork", "hostPID", "hostIPC"):
            if pod.get(shared):
                yield f"{owner}: {shared}"
        for volume in pod.get("volumes", []):
            if "hostPath" in volume:
                yield f"{owner}: volume {volume['name']} is the node's"
    for name, container in containers(objects):
        security = container.get("securityContext", {})
        if security.get("allowPrivilegeEscalation") is not False or security.get("privileged"):
            yield f"{name}: may gain privileges"
        if security.get("capabilities") != {"drop": ["ALL"]}:
            yield f"{name}: keeps capabilities"
        if security.get("readOnlyRootFilesystem") is not True:
            yield f"{name}: its root file system can be written"


def tokens(objects):
    accounts = {a["metadata"]["name"]: a for a in kind(objects, "ServiceAccount")}
    for name, account in accounts.items():
        if account.get("automountServiceAccountToken") is not False:
            yield f"ServiceAccount/{name}: mounts its token"
    for owner, pod, _ in pods(objects):
        if pod.get("serviceAccountName") not in accounts:
            yield f"{owner}: its service account isn't here"
        if pod.get("automountServiceAccountToken") is not False:
            yield f"{owner}: mounts a token"


def sizes(objects):
    for name, container in containers(objects):
        resources = container.get("resources", {})
        if not {"cpu", "memory"} <= resources.get("requests", {}).keys() or "memory" not in resources.get("limits", {}):
            yield f"{name}: asks for no CPU and memory, or has no limit of memory"


def images(objects):
    for name, container in containers(objects):
        if not re.search(r"(:(?!latest$)[\w][\w.-]*|@sha256:[0-9a-f]{64})$", container["image"]):
            yield f"{name}: image {container['image']} is not pinned"


def references(objects):
    known = {(o["kind"], o["metadata"]["name"]) for o in objects}
    for name, container in containers(objects):
        for source in container.get("envFrom", []):
            for field, wanted in (("configMapRef", "ConfigMap"), ("secretRef", "Secret")):
                ref = source.get(field)
                if ref and not ref.get("optional") and (wanted, ref["name"]) not in known:
                    yield f"{name}: {wanted} {ref['name']} isn't here"
        for variable in container.get("env", []):
            ref = variable.get("valueFrom", {}).get("secretKeyRef")
            if ref and ref["key"] not in one(objects, "Secret", ref["name"]).get("stringData", {}):
                yield f"{name}: Secret {ref['name']} has no {ref['key']}"


def selectors(objects):
    labels = [labels for _, _, labels in pods(objects)]
    # Clients are other people's pods.
    labels.append({"limbic-client": "true"})
    for o in objects:
        spec = o.get("spec", {})
        chooses = {"Service": {"matchLabels": spec.get("selector")}, "NetworkPolicy": spec.get("podSelector")}
        selector = chooses.get(o["kind"])
        if selector is not None and not any(chosen(selector, pod) for pod in labels):
            yield f"{o['kind']}/{o['metadata']['name']}: chooses no pod of these manifests"


def namespace(objects):
    (space,) = kind(objects, "Namespace")
    if space["metadata"]["labels"].get("pod-security.kubernetes.io/enforce") != "restricted":
        yield "Namespace: the restricted standard isn't enforced"
    for o in objects:
        if o is not space and o["metadata"].get("namespace") != space["metadata"]["name"]:
            yield f"{o['kind']}/{o['metadata']['name']}: lies in another namespace"


def leads_alone(objects):
    spec = coordinator(objects)["spec"]
    if spec["strategy"] != {"type": "Recreate"} or spec["replicas"] != 1:
        yield "the coordinator: not one replica with the strategy Recreate"
    (container,) = spec["template"]["spec"]["containers"]
    port = container["ports"][0]["containerPort"]
    for probe, service in (("startupProbe", "limbic.v1.Workers"), ("readinessProbe", "limbic.v1.Workers"), ("livenessProbe", None)):
        if container.get(probe, {}).get("grpc") != {"port": port} | ({"service": service} if service else {}):
            yield f"the coordinator: its {probe} asks for something else than {service or 'the server'}"
    patience = container["args"][container["args"].index("--patience") + 1]
    startup = container.get("startupProbe", {})
    if startup.get("failureThreshold", 3) * startup.get("periodSeconds", 10) <= int(patience):
        yield "the coordinator: its startupProbe ends it while it waits for the store"


def guarded(objects):
    """What --insecure leaves open, the network closes."""
    policies = [p["spec"] for p in kind(objects, "NetworkPolicy")]
    if not any(p["podSelector"] == {} and set(p["policyTypes"]) == {"Ingress", "Egress"} and not p.keys() & {"ingress", "egress"} for p in policies):
        yield "the network: nothing is denied by default"
    labels = coordinator(objects)["spec"]["template"]["metadata"]["labels"]
    peers = []
    for policy in policies:
        if "Ingress" in policy["policyTypes"] and chosen(policy["podSelector"], labels):
            for rule in policy.get("ingress", []):
                peers += rule.get("from", [{}])
    for peer in peers:
        if peer.keys() != {"podSelector"} or not peer["podSelector"]:
            yield f"the network: the coordinator is open to {peer}"
    if not any(chosen(p.get("podSelector", {}), worker(objects)["spec"]["template"]["metadata"]["labels"]) for p in peers):
        yield "the network: workers don't reach the coordinator"


def comes_and_goes(objects):
    spec = worker(objects)["spec"]
    pod = spec["template"]["spec"]
    if "completions" in spec or spec.get("parallelism", 0) < 1:
        yield "the worker: counts completions, or has no parallelism"
    if pod["restartPolicy"] != "Never":
        yield "the worker: is restarted in place, so no failure policy applies"
    if pod.get("terminationGracePeriodSeconds", 0) < 30:
        yield "the worker: no time to drain"
    if spec.get("backoffLimit", 6) < 1000:
        yield "the worker: the Job gives up after a few failures"
    rules = spec.get("podFailurePolicy", {}).get("rules", [])
    codes = {r["action"]: r["onExitCodes"]["values"] for r in rules if r.get("onExitCodes", {}).get("operator") == "In"}
    if codes.get("FailJob") != [2, 127]:
        yield "the worker: exit code 2 doesn't fail the Job"
    if codes.get("Ignore") != [75]:
        yield "the worker: exit code 75 is counted"
    if not any(r["action"] == "Ignore" and r.get("onPodConditions", [{}])[0].get("type") == "DisruptionTarget" for r in rules):
        yield "the worker: disruptions are counted"
    if any(r.get("onExitCodes", {}).get("containerName", "worker") != pod["containers"][0]["name"] for r in rules):
        yield "the worker: a rule names no container of the pod"


def gpu(objects):
    pod = worker(objects)["spec"]["template"]["spec"]
    settings = one(objects, "ConfigMap", "limbic-worker")["data"]
    limits = pod["containers"][0]["resources"]["limits"]
    tolerated = any(t["key"] == "nvidia.com/gpu" for t in pod.get("tolerations", []))
    cuda = "cuda" in pod["containers"][0]["image"]
    if settings["LIMBIC_DEVICE"].startswith("cuda"):
        if limits.get("nvidia.com/gpu") != "1" or not tolerated or not cuda:
            yield "the worker: on a GPU without a GPU, a toleration or the CUDA image"
    elif cuda or "nvidia.com/gpu" in limits:
        yield "the worker: pays for a GPU and doesn't use it"


def pod_of(o):
    return o["spec"]["template"]["spec"]


def policy(objects, name):
    return one(objects, "NetworkPolicy", name)["spec"]


# (rule, changes that it must complain of)
RULES = [
    (restricted, [
        lambda o: pod_of(worker(o))["securityContext"].pop("runAsNonRoot"),
        lambda o: pod_of(worker(o))["securityContext"].update(runAsUser=0),
        lambda o: pod_of(coordinator(o))["securityContext"].pop("seccompProfile"),
        lambda o: pod_of(worker(o))["containers"][0]["securityContext"].pop("capabilities"),
        lambda o: pod_of(worker(o))["containers"][0]["securityContext"]["capabilities"].update(add=["NET_ADMIN"]),
        lambda o: pod_of(worker(o))["containers"][0]["securityContext"].pop("readOnlyRootFilesystem"),
        lambda o: pod_of(worker(o))["containers"][0]["securityContext"].pop("allowPrivilegeEscalation"),
        lambda o: pod_of(worker(o)).update(hostNetwork=True),
        lambda o: pod_of(worker(o))["volumes"].append({"name": "node", "hostPath": {"path": "/"}}),
    ]),
    (tokens, [
        lambda o: kind(o, "ServiceAccount")[0].pop("automountServiceAccountToken"),
        lambda o: pod_of(worker(o)).pop("automountServiceAccountToken"),
        lambda o: pod_of(worker(o)).update(serviceAccountName="default"),
    ]),
    (sizes, [lambda o: pod_of(worker(o))["containers"][0]["resources"]["limits"].pop("memory")]),
    (images, [
        lambda o: pod_of(worker(o))["containers"][0].update(image="limbic/worker:latest"),
        lambda o: pod_of(worker(o))["containers"][0].update(image="host:5000/limbic/worker"),
    ]),
    (references, [lambda o: o.remove(one(o, "ConfigMap", "limbic-store"))]),
    (selectors, [
        lambda o: one(o, "Service", "limbic-coordinator")["spec"]["selector"].update({"app.kubernetes.io/component": "x"}),
        lambda o: policy(o, "store")["podSelector"]["matchExpressions"][0].update(values=["x"]),
    ]),
    (namespace, [
        lambda o: kind(o, "Namespace")[0]["metadata"]["labels"].pop("pod-security.kubernetes.io/enforce"),
        lambda o: worker(o)["metadata"].pop("namespace"),
    ]),
    (leads_alone, [
        lambda o: coordinator(o)["spec"].update(strategy={"type": "RollingUpdate"}),
        lambda o: coordinator(o)["spec"].update(replicas=2),
        lambda o: pod_of(coordinator(o))["containers"][0]["readinessProbe"].update(grpc={"port": 7447}),
        lambda o: pod_of(coordinator(o))["containers"][0]["livenessProbe"]["grpc"].update(service="limbic.v1.Workers"),
        lambda o: pod_of(coordinator(o))["containers"][0]["startupProbe"].update(failureThreshold=120),
    ]),
    (guarded, [
        lambda o: o.remove(one(o, "NetworkPolicy", "default-deny")),
        lambda o: policy(o, "coordinator")["ingress"][0].pop("from"),
        lambda o: policy(o, "coordinator")["ingress"][0]["from"].append({"namespaceSelector": {}}),
        lambda o: policy(o, "coordinator")["ingress"][0]["from"].pop(0),
    ]),
    (comes_and_goes, [
        lambda o: worker(o)["spec"].update(completions=4),
        lambda o: pod_of(worker(o)).update(restartPolicy="OnFailure"),
        lambda o: pod_of(worker(o)).update(terminationGracePeriodSeconds=10),
        lambda o: worker(o)["spec"].pop("backoffLimit"),
        lambda o: worker(o)["spec"]["podFailurePolicy"]["rules"].pop(0),
        lambda o: worker(o)["spec"]["podFailurePolicy"]["rules"].pop(1),
        lambda o: worker(o)["spec"]["podFailurePolicy"]["rules"].pop(2),
        lambda o: pod_of(worker(o))["containers"][0].update(name="other"),
    ]),
    (gpu, [lambda o: one(o, "ConfigMap", "limbic-worker")["data"].update(LIMBIC_DEVICE="cuda:0") or
           pod_of(worker(o))["containers"][0]["resources"]["limits"].pop("nvidia.com/gpu", None)]),
]
