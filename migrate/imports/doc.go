// Package imports turns the configuration of other load-balancer controllers into
// Fairlead's: pools, advertisements, peers, BFD profiles and communities.
//
// It is pure: objects in, objects out. Nothing is dropped in silence: each field
// and object that has no equal, or means something else here, becomes a Note that
// says where it stands, what becomes of it, why, and what to do. What comes out is
// what the API server admits and the allocator and the announcers can read.
//
// Every field of a foreign object is taken out of it as it is read (fields); what
// nobody has taken in the end is told. So a field that a newer version has is
// never overlooked.
package imports
