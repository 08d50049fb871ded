# opa test policies/authz.rego policies/authz_test.rego policies/data.json
package eventrunner.authz_test

import data.eventrunner.authz

roles := data.eventrunner.access.roles

# Every call of the API, as resource and action.
calls := {
	["analytics", "rebuild"],
	["audit", "list"],
	["billing", "close"],
	["consumers", "delete"],
	["consumers", "get"],
	["consumers", "list"],
	["consumers", "logs"],
	["consumers", "put"],
	["dead_letters", "delete"],
	["dead_letters", "get"],
	["dead_letters", "list"],
	["dead_letters", "replay"],
	["events", "get"],
	["events", "list"],
	["events", "publish"],
	["events", "stream"],
	["events", "trace"],
	["invoices", "get"],
	["invoices", "list"],
	["keys", "create"],
	["keys", "delete"],
	["keys", "list"],
	["keys", "rotate"],
	["metrics", "get"],
	["plans", "get"],
	["plans", "put"],
	["replays", "cancel"],
	["replays", "create"],
	["replays", "get"],
	["replays", "list"],
	["retention", "sweep"],
	["rules", "activate"],
	["rules", "delete"],
	["rules", "dry_run"],
	["rules", "explain"],
	["rules", "get"],
	["rules", "list"],
	["rules", "put"],
	["signing_keys", "create"],
	["signing_keys", "delete"],
	["signing_keys", "list"],
	["status", "get"],
	["tenants", "delete"],
	["tenants", "get"],
	["tenants", "put"],
	["usage", "get"],
}

operator_only := {
	["analytics", "rebuild"],
	["billing", "close"],
	["keys", "create"],
	["keys", "delete"],
	["keys", "rotate"],
	["metrics", "get"],
	["plans", "put"],
	["retention", "sweep"],
	["status", "get"],
	["tenants", "delete"],
	["tenants", "put"],
}

question(role, call, tenant) := {
	"subject": {"authenticated": true, "id": "alice", "tenant": "acme", "roles": [role]},
	"resource": call[0],
	"action": call[1],
	"tenant": tenant,
}

allowed(role, tenant) := {call | some call in calls; authz.allow with input as question(role, call, tenant)}

test_an_admin_may_do_everything_to_everyone if {
	allowed("admin", "acme") == calls
	allowed("admin", "globex") == calls
	allowed("admin", "") == calls
}

test_a_publisher_may_only_publish_as_its_own_tenant if {
	allowed("event_publisher", "acme") == {["events", "publish"]}
	allowed("event_publisher", "globex") == set()
	allowed("event_publisher", "") == set()
}

test_a_user_manages_its_own_tenant_but_not_what_operators_manage if {
	allowed("user", "acme") == (calls - operator_only) - {["events", "publish"]}
}

test_a_user_sees_nothing_of_another_tenant if allowed("user", "globex") == set()

test_a_user_may_read_the_plans if allowed("user", "") == {["plans", "get"]}

test_every_permission_is_of_a_known_call if {
	every role in roles {
		every resource, actions in role.permissions {
			every action in actions {
				[resource, action] in calls
			}
		}
	}
}

test_nobody_is_allowed_unauthenticated if {
	every answer in [false, null, "true", 1] {
		not authz.allow with input as json.patch(
			question("admin", ["events", "list"], "acme"),
			[{"op": "replace", "path": "/subject/authenticated", "value": answer}],
		)
	}
}

test_an_unknown_role_resource_or_action_is_denied if {
	not authz.allow with input as question("root", ["events", "list"], "acme")
	not authz.allow with input as question("admin", ["secrets", "list"], "acme")
	not authz.allow with input as question("admin", ["events", "drop"], "acme")
}

test_roles_must_be_a_list if {
	every roles in ["admin", {"a": "admin"}, null, {"admin"}, [["admin"]], []] {
		not authz.allow with input as json.patch(
			question("user", ["tenants", "put"], "acme"),
			[{"op": "replace", "path": "/subject/roles", "value": roles}],
		)
	}
}

test_an_empty_tenant_owns_nothing if {
	every call in calls - {["plans", "get"]} {
		not authz.allow with input as json.patch(
			question("user", call, ""),
			[{"op": "replace", "path": "/subject/tenant", "value": ""}],
		)
	}
}

test_an_empty_input_is_denied if not authz.allow with input as {}

test_who_claims_to_be_of_the_platform_is_still_no_admin if {
	asked := object.union(question("user", ["rules", "put"], "_platform"), {"subject": {"tenant": "_platform"}})
	not authz.allow with input as asked
}
