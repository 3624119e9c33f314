//! The operator as people have it: installed by its chart or its manifests, in pods of a real node, used by a pod that
//! mounts the target Secret.
//!
//! ```text
//! place     a cluster with a node, the images, an issuer in it, and who installs what
//! consumer  a pod that calls the issuer with what lies in its files, and what it has seen
//! measured  what the operator's pods use
//! rotating  token after token, while pods, kubelet and API server go and come
//! releasing upgrade, rollback, uninstall, install again
//! scoping   one namespace only; Helm 3; kustomize
//! ```
//!
//! `make installed` runs it: it needs root and the images of `make image`.

mod consumer;
mod measured;
mod place;
mod releasing;
mod rotating;
mod scoping;
