// Package apart runs BFD in a process of its own, a child of the speaker, so that nothing else that the speaker does can
// make a packet late.
//
// In a pod nice values do not help a speaker beside other pods: the kernel shares the cores among pods by their CPU
// requests first. Real time goes before that, but Go cannot give it to a part of a program: a thread that is preferred
// waits for locks, permits and pauses of threads that are not. So the child has nothing but BFD, all of its threads are
// preferred (bfd.PreferProcess), and it collects no garbage before there is much.
//
// The Engine is the parent's side and has the methods of bfd.Engine; Child is the other. They talk over a pair of
// sockets: orders go down, reports go up. While no session is wanted there is no child. A child that ends is started
// again, which its peers see as a loss of the path if they watch it; this side tells of it without calling the path lost.
// A child whose parent ends without a word ends as silently: its peers see a node that has died.
package apart
