// Package feed brings configuration to Envoys: a delta ADS server that knows what
// each Envoy has, and gives it what is new in an order that breaks nothing.
//
// # Order
//
// Every Envoy is led on its own, so that a slow one holds up no other. For each
// Gateway it is given, wave by wave:
//
//  1. make: the clusters that are new or changed. The wave goes on when the Envoy
//     has acknowledged, for each, the endpoints and secrets it needs to be of use
//     (and the cluster itself, if it needs none: Envoy acknowledges no cluster
//     while any is waiting). An Envoy does not ask again for endpoints it has, and
//     yet a cluster that was changed does not go into use without hearing of
//     them; so they are sent again right behind such a cluster.
//  2. switch: route tables and listeners, and listeners that are gone.
//  3. break: once all of the Gateway's listeners and route tables are acknowledged,
//     and after Options.Grace, the clusters that nothing refers to any more.
//
// A wave leads to the state as it was when the wave began; what is set meanwhile is
// for the next one. So a stream of changes cannot starve a route table. Each wait
// ends after Options.Wait: a cluster that never gets ready delays a Gateway once,
// not for ever, and never another Gateway. Only the last step waits as long as it
// takes, and nothing waits for it.
//
// Endpoints and secrets are no part of waves: they go out as soon as they change.
// They, and route tables, are never removed by us; an Envoy leaves them off when
// nothing of its own refers to them any more (and a route table that a draining
// listener still uses keeps its clusters that long).
//
// # Rejections
//
// An Envoy rejects a whole response, although it may have applied a part of it (of
// listeners and clusters all that are good; of other types those that come before
// the first bad one), and its message need not name the culprit. So a rejected
// response is sent again in parts until each bad resource stands alone: that which
// the message names by itself, else half and half. A resource that was rejected
// alone is not sent again until it changes, and to other Envoys only by itself. The
// Envoy keeps what it had of it, and everything else goes on. Clusters that an old
// listener or route table may still use are not taken away.
//
// # What has become of it
//
// Progress says how things are now. Deliver says once what has become of one Set, when
// the last Envoy of those that were connected has acknowledged or refused it, or has
// gone; an Envoy that comes later is not waited for.
//
// # Changes of the controller
//
// A resource's version is made of its content, so an Envoy that comes from another
// controller and tells what it has is sent only what differs. Nothing is answered
// before Ready says that all Gateways of the fleet are set: otherwise what is not
// set yet would be taken for gone.
//
// If the connection ends between a changed cluster and the endpoints that follow it,
// the Envoy comes back with both by its own account, and yet the cluster waits to hear
// of them. It can be told from what such an Envoy does not ask for: clusters or, when it
// has just started, listeners. It is sent the endpoints it has once more.
package feed
