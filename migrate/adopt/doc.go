// Package adopt takes a running cluster over from another load-balancer controller,
// in steps that are derived from what the cluster shows: nothing else remembers how
// far it has come. It is pure: a Snapshot in; for each step whether it is done, what
// is written next, what is awaited, and the same for the way back.
//
// # What a user sees
//
//	kubectl fairlead adopt PEER [--apply] [--all] [--undo] [--remove] [--timeout 5m] [--pause 10s] [-o table|wide|json|yaml]
//
// PEER is as for import: metallb, kube-vip, cilium, purelb, calico, openelb.
//
// Without --apply nothing is written: the table of steps is shown, and what the next
// one writes, as a diff. --apply does the next step, or goes on with one that was
// begun, and waits until its check holds. --all --apply goes on to the end. --undo shows, and
// with --apply does, the way back of the last step that was begun; --all --undo
// --apply goes back to the beginning. --remove lets End delete the other's workloads.
// --timeout is for each step.
//
// The states of a step are Done, Begun, Next, Blocked, and Later.
//
//	Books     Each address that a status shows has an Address, reserved for its Service; one that several
//	          share is set aside. So nobody else gets it when there are pools.
//	Pools     The imported pools, advertisements and peers are there. Advertisements and BGPPeers are bound to
//	          nodes with the labels fairlead.dev/announces-layer2 and fairlead.dev/announces-bgp, which no node
//	          has: nothing is announced.
//	Compare   The allocator keeps every Service's address. Reads only, and is done or blocked.
//	Decide    MetalLB's L2Advertisements, BGPAdvertisements and BGPPeers leave out nodes with those labels (no
//	          node has them yet), its controller goes to 0 replicas; its speakers go on announcing. Then it waits
//	          for `helm upgrade ... --set services.defaultClass=true`, which it prints and never does itself, and
//	          until every address is Bound in the ledger. When that comes true while the command does not run,
//	          the next --apply sees that it holds, and ends the step: it never ends by itself.
//	Announce  BGP: one node after the other is labelled; MetalLB's speaker lets its sessions go, and those of
//	          Fairlead must be Established, and --pause be over, before the next node. Then layer 2, on all
//	          nodes at once. What does not come up within --timeout is taken back.
//	End       Waits until MetalLB's workloads are gone (helm uninstall, kubectl delete, or --remove). Then
//	          selectors, labels, reservations and annotations of adopt are taken off. The
//	          CustomResourceDefinitions of the other are never deleted.
//
// Of the others, kube-vip, PureLB and OpenELB have to be told to leave Services without a
// class alone, or to be removed, by hand: Decide says how, and waits for it. Cilium and
// Calico do not show whether they do: there the command ends with Decide, and says what
// to do by hand.
//
// MetalLB's objects are changed before its controller stops, since that serves the
// webhook which admits changes of them; on the way back its controller is started
// before.
//
// On the way back from End, MetalLB is installed again. No node is given back before its
// speakers run: they mount a Secret that its controller makes, and that goes with the
// controller's Deployment.
//
// The others are installed again too, and no node is given back before what announces
// for them is rolled out and ready: Fairlead cannot tell them to announce from some
// nodes only, so both announce for a while rather than nobody.
//
// A MetalLB that serves one class (--lb-class) is left as it is. One that is there in
// part only is adopted from as far as what is left allows; what is missing is named.
//
// Exit codes: 0 all steps are done, or with --apply what was asked for is done; 1
// something is to be done, is blocked, or did not come true within --timeout: the
// output says what, why and what to do; 2 the command could not do its work: rights
// are missing (named), the cluster does not answer, the command line is no good.
package adopt
