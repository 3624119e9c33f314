//! The commands and manifests of the book work as they are pasted.

mod flux;
mod page;
mod runbooks;
mod targets;
mod tasks;
