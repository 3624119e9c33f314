//! Random answers of an issuer, and random Secrets, templates and addresses of a person: each is refused, or
//! follows the rules. `PROPTEST_CASES` says how many cases each property is tried with.

mod addresses;
mod answers;
mod logins;
mod templates;

pub(crate) use templates::hostile;
