//! The operator as people install it: by its chart or its manifests, in pods of a real node, used by a pod that
//! mounts the target Secret.
//!
//! ```text
//! place        a cluster with a node, the images, an issuer in it, and who installs what
//! consumer     a pod that calls the issuer with what lies in its files, and what it has seen
//! publications when tokens were published, and how long they took from there
//! measured     what the operator's pods use
//! rotating     token after token, while pods, kubelet and API server go and come
//! releasing    upgrade, rollback, uninstall, install again
//! scoping      one namespace only; Helm 3; kustomize
//! beside       the sidecar in pods and Jobs, written there or injected
//! ```
//!
//! `make installed` runs it: it needs root and the images of `make image`.

mod beside;
mod consumer;
mod measured;
mod place;
mod publications;
mod releasing;
mod rotating;
mod scoping;
