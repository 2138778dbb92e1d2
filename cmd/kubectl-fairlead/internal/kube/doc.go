// Package kube is what the commands of the plugin have in common: the caller's
// cluster, rights, flags, streams and clock.
//
// To add a command, make a package of its own beside this one, with
//
//	func Command(env *kube.Env) *cobra.Command
//
// and add it to the list in package root. If it shows something, its RunE is
// env.Show(read), where read
//
//   - reads with the Reader that it is given what it needs into a value: List and Get
//     leave out what the caller may not read, and remember it;
//   - hands that value to a pure function, which gives an output.Result.
//
// Show prints that, tells what could not be read, and gives the exit code: 0, 1 where
// something is wrong or would change, 2 where not everything could be read. Commands
// that do more take env.Reader(), env.Print and env.End themselves.
//
// Names of objects are completed with env.Complete, for example
//
//	ValidArgsFunction: env.Complete(&corev1.ServiceList{})
//
// A command that writes takes a client from env.Client(), writes only with a flag
// --apply of its own, and shows what it would write without it.
package kube
