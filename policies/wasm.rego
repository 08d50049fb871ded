# What a tenant's WebAssembly consumer may do. Asked when one is uploaded, once for its signature and for each of its imports
# and exports, and when it publishes. Everything is denied that data.json does not name. Inputs:
#   {"action": "admit", "tenant", "kind": "component", "signed_by": "<id of the key>", "registered": ["<id>", ...]}
#   {"action": "import", "tenant", "kind": "component", "name": "wasi:clocks/wall-clock", "version": "0.2.0"}
#   {"action": "import", "tenant", "kind": "module", "name": "wapc", "member": "__host_call"}
#   {"action": "serve", "kind": "component", "name": "wasmcloud:messaging/handler", "version": "0.2.0"}
#   {"action": "serve", "kind": "module", "name": "__guest_call"}
#   {"action": "publish", "tenant", "subject": "events.acme.order.paid"}
# `admit` asks about a module whose signature has been verified: by which key, and which keys its tenant has registered.
# `serve` asks whether an export is one by which events are handed to the consumer.
package eventrunner.wasm

default allow := false

contract := data.eventrunner.consumers

# A tenant of data.json that has `signers` may use no other keys, whatever it has registered.
allow if {
	input.action == "admit"
	input.kind in ["component", "module"]
	is_string(input.tenant)
	input.tenant != ""
	is_string(input.signed_by)
	input.signed_by != ""
	is_array(input.registered)
	input.signed_by in input.registered
	may_sign
}

may_sign if not contract.tenants[input.tenant].signers

may_sign if input.signed_by in contract.tenants[input.tenant].signers

# A version of data.json covers those that begin with it: 0.2 covers 0.2.6, not 0.20.
allow if {
	input.action == "import"
	input.kind == "component"
	some version in versions
	covers(version)
}

versions contains version if some version in contract.component.imports[input.name]

versions contains version if some version in contract.tenants[input.tenant].imports[input.name]

covers(version) if input.version == version

covers(version) if startswith(input.version, concat("", [version, "."]))

allow if {
	input.action == "import"
	input.kind == "module"
	input.member in contract.module.imports[input.name]
}

allow if {
	input.action == "serve"
	input.kind == "component"
	some version in contract.component.handlers[input.name]
	covers(version)
}

allow if {
	input.action == "serve"
	input.kind == "module"
	input.name in contract.module.handlers
}

# A consumer publishes as its own tenant only, to a subject of the form <stream>.<tenant>.<type>.
allow if {
	input.action == "publish"
	is_string(input.tenant)
	input.tenant != ""
	is_string(input.subject)
	tokens := split(input.subject, ".")
	count(tokens) >= 3
	tokens[0] in contract.publish.streams
	tokens[1] == input.tenant
	not "" in tokens
	not has_forbidden
}

# Wildcards, blanks, and what ends a line of the NATS protocol.
has_forbidden if {
	some character in contract.publish.forbidden
	contains(input.subject, character)
}
