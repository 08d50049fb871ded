# opa test policies/wasm.rego policies/wasm_test.rego policies/data.json
package eventrunner.wasm_test

import data.eventrunner.wasm

imported(name, version) := {
	"action": "import", "tenant": "acme", "kind": "component",
	"name": name, "version": version,
}

good_imports := [
	["wasmcloud:messaging/consumer", "0.2.0"],
	["wasmcloud:messaging/types", "0.2.0"],
	["wasi:logging/logging", "0.1.0-draft"],
	["wasi:clocks/monotonic-clock", "0.2.0"],
	["wasi:clocks/wall-clock", "0.2.6"],
	["wasi:io/poll", "0.2.6"],
	["wasi:random/random", "0.2.0"],
	["wasi:random/insecure", "0.2.10"],
	["wasi:random/insecure-seed", "0.2.1"],
]

test_the_interfaces_of_the_contract_may_be_imported if {
	every pair in good_imports {
		wasm.allow with input as imported(pair[0], pair[1])
	}
}

other_imports := [
	["wasi:filesystem/types", "0.2.0"],
	["wasi:filesystem/preopens", "0.2.0"],
	["wasi:sockets/tcp", "0.2.0"],
	["wasi:http/outgoing-handler", "0.2.0"],
	["wasi:cli/environment", "0.2.0"],
	["wasi:cli/exit", "0.2.0"],
	["wasi:io/streams", "0.2.0"],
	["wasmcloud:messaging/handler", "0.2.0"],
	["wasmcloud:bus/lattice", "1.0.0"],
	["wasi:clocks", "0.2.0"],
	["wasi:clocks/", "0.2.0"],
	["clocks/wall-clock", "0.2.0"],
	["WASI:clocks/wall-clock", "0.2.0"],
	["log", ""],
	["", ""],
]

test_nothing_else_may if {
	every pair in other_imports {
		not wasm.allow with input as imported(pair[0], pair[1])
	}
}

other_versions := [
	["wasi:clocks/wall-clock", "0.20.0"],
	["wasi:clocks/wall-clock", "0.3.0"],
	["wasi:clocks/wall-clock", "1.0.2"],
	["wasi:clocks/wall-clock", ""],
	["wasi:clocks/wall-clock", null],
	["wasmcloud:messaging/consumer", "0.3.0"],
	["wasmcloud:messaging/consumer", "0.2.1"],
	["wasi:logging/logging", "0.1.0"],
]

test_a_version_must_be_covered if {
	every pair in other_versions {
		not wasm.allow with input as imported(pair[0], pair[1])
	}
}

test_a_tenant_may_be_given_more if {
	more := {"acme": {"imports": {"wasi:io/streams": ["0.2"]}}}
	asked := imported("wasi:io/streams", "0.2.0")
	not wasm.allow with input as asked
	wasm.allow with input as asked with data.eventrunner.consumers.tenants as more
	not wasm.allow with input as object.union(asked, {"tenant": "globex"}) with data.eventrunner.consumers.tenants as more
}

host_call := {"action": "import", "tenant": "acme", "kind": "module", "name": "wapc", "member": "__host_call"}

test_a_module_may_import_waPC_and_nothing_else if {
	wasm.allow with input as host_call
	not wasm.allow with input as object.union(host_call, {"member": "__anything"})
	not wasm.allow with input as object.union(host_call, {"name": "env"})
	not wasm.allow with input as object.union(host_call, {"name": "wasi_snapshot_preview1", "member": "fd_write"})
	not wasm.allow with input as object.union(host_call, {"kind": "component", "version": "0.2.0"})
}

served(kind, name, version) := {"action": "serve", "kind": kind, "name": name, "version": version}

test_events_are_handed_to_what_the_contract_says if {
	wasm.allow with input as served("component", "wasmcloud:messaging/handler", "0.2.0")
	wasm.allow with input as served("module", "__guest_call", "")
	not wasm.allow with input as served("component", "wasmcloud:messaging/handler", "0.3.0")
	not wasm.allow with input as served("component", "wasi:cli/run", "0.2.0")
	not wasm.allow with input as served("component", "__guest_call", "")
	not wasm.allow with input as served("module", "_start", "")
	not wasm.allow with input as served("module", "wasmcloud:messaging/handler", "0.2.0")
}

admitted(kind, key, registered) := {
	"action": "admit", "tenant": "acme", "kind": kind,
	"signed_by": key, "registered": registered,
}

good_signatures := [
	["component", "k1", ["k1"]],
	["module", "k2", ["k1", "k2"]],
]

test_a_module_that_a_registered_key_signed_is_admitted if {
	every item in good_signatures {
		wasm.allow with input as admitted(item[0], item[1], item[2])
	}
}

other_signatures := [
	["component", "k1", []],
	["component", "k1", ["k2"]],
	["component", "", [""]],
	["component", null, [null]],
	["component", ["k1"], [["k1"]]],
	["component", "k1", "k1"],
	["component", "k1", {"k1": "k1"}],
	["component", "k1", null],
	["script", "k1", ["k1"]],
	["", "k1", ["k1"]],
	[null, "k1", ["k1"]],
]

test_no_other_module_is_admitted if {
	every item in other_signatures {
		not wasm.allow with input as admitted(item[0], item[1], item[2])
	}
	every name in object.keys(admitted("component", "k1", ["k1"])) {
		not wasm.allow with input as object.remove(admitted("component", "k1", ["k1"]), [name])
	}
	every tenant in ["", null, 1, ["acme"]] {
		not wasm.allow with input as object.union(admitted("component", "k1", ["k1"]), {"tenant": tenant})
	}
}

test_a_tenant_may_be_held_to_some_of_its_keys if {
	tenants := {"acme": {"signers": ["k2"]}, "globex": {"signers": []}, "initech": {"imports": {}}}
	both := ["k1", "k2"]
	not wasm.allow with input as admitted("component", "k1", both) with data.eventrunner.consumers.tenants as tenants
	wasm.allow with input as admitted("component", "k2", both) with data.eventrunner.consumers.tenants as tenants
	not wasm.allow with input as admitted("component", "k2", ["k1"]) with data.eventrunner.consumers.tenants as tenants
	globex := object.union(admitted("component", "k2", both), {"tenant": "globex"})
	not wasm.allow with input as globex with data.eventrunner.consumers.tenants as tenants
	initech := object.union(admitted("component", "k2", both), {"tenant": "initech"})
	wasm.allow with input as initech with data.eventrunner.consumers.tenants as tenants
}

published(subject) := {"action": "publish", "tenant": "acme", "subject": subject}

good_subjects := ["events.acme.order.paid", "results.acme.alert"]

test_a_consumer_publishes_as_its_tenant if {
	every subject in good_subjects {
		wasm.allow with input as published(subject)
	}
}

other_subjects := [
	"events.globex.order",
	"events.acme",
	"events.acme.",
	"events..acme.order",
	"events.acme..order",
	".events.acme.order",
	"events.ACME.order",
	"raw.acme.order",
	"usage.acme.order",
	"deadletter.acme.order",
	"$JS.API.STREAM.DELETE.RESULTS",
	"$KV.keys.acme",
	"events.acme.*",
	"events.acme.>",
	"events.*.order",
	"events.acme.a b",
	"events.acme.order\r\nPUB raw.globex 0",
	"events.acme.order\u0000",
	"",
	null,
	["events", "acme", "order"],
]

test_a_consumer_publishes_nothing_else if {
	every subject in other_subjects {
		not wasm.allow with input as published(subject)
	}
}

test_nobody_publishes_without_a_tenant if {
	every tenant in ["", null, ["acme"], "globex"] {
		not wasm.allow with input as object.union(published("events.acme.order"), {"tenant": tenant})
	}
	not wasm.allow with input as {"action": "publish", "tenant": "", "subject": "events..order"}
}

test_an_unknown_action_or_an_empty_input_is_denied if {
	not wasm.allow with input as {}
	not wasm.allow with input as object.union(host_call, {"action": "export"})
	not wasm.allow with input as object.union(published("events.acme.order"), {"action": ["publish"]})
}

# What is asked here, for whoever compares another engine with OPA.
inputs contains imported(pair[0], pair[1]) if {
	some pair in array.concat(good_imports, array.concat(other_imports, other_versions))
}

inputs contains published(subject) if some subject in array.concat(good_subjects, other_subjects)

inputs contains object.union(host_call, {"kind": kind, "name": name, "member": member, "version": "0.2.0"}) if {
	some kind in ["module", "component"]
	some name in ["wapc", "env", "wasi_snapshot_preview1"]
	some member in ["__host_call", "__anything", "fd_write"]
}

inputs contains admitted(item[0], item[1], item[2]) if some item in array.concat(good_signatures, other_signatures)

inputs contains served(kind, name, version) if {
	some kind in ["module", "component"]
	some name in ["wasmcloud:messaging/handler", "__guest_call", "wasi:cli/run", "_start"]
	some version in ["0.2.0", "0.3.0", ""]
}
