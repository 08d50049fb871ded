# Who may do what. Asked by the gateway for every request, with the input
#   {"subject": {"authenticated", "id", "tenant", "roles"}, "resource", "action", "tenant"}
# where `tenant` is whose things are touched: from the path, or the caller's own where the path names none, or "" for
# what belongs to nobody. Which role may do what is in data.json; a tenant's roles end at its own things.
package eventrunner.authz

default allow := false

# Owner of the rule sets that run before every tenant's own; not even a token that claims to be of it may touch them.
platform := "_platform"

allow if {
	input.subject.authenticated == true
	is_array(input.subject.roles)
	some name in input.subject.roles
	role := data.eventrunner.access.roles[name]
	input.action in role.permissions[input.resource]
	in_scope(role)
}

in_scope(role) if role.scope == "platform"

in_scope(role) if {
	role.scope == "tenant"
	is_string(input.tenant)
	input.tenant != ""
	input.subject.tenant == input.tenant
	input.tenant != platform
}

in_scope(role) if {
	role.scope == "tenant"
	input.tenant == ""
	input.resource in data.eventrunner.access.shared_resources
}
