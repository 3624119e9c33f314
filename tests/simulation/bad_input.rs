//! Whatever an issuer answers, and whatever a person writes into a Secret, a template or an address: it is refused, or
//! what is accepted of it keeps to the rules. `PROPTEST_CASES` says how many cases each property is tried with.

mod addresses;
mod answers;
mod logins;
mod templates;

pub(crate) use templates::hostile;
