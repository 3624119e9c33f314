//! Which module may use which: `api, core ← issuer ← traces ← account ← controller, sidecar, plugin ← cli ← main`; `ops` from `issuer`
//! upwards. What no module may use but one (clocks, the environment, random numbers), `clippy.toml` forbids.

use crate::references::references;
use crate::source::{SourceFile, program};

struct Rule {
    module: &'static str,
    /// The other modules that it may use. A path stands for all below it.
    may_use: &'static [&'static str],
    /// The parts of other crates that it must not use. A path stands for all below it.
    must_not_use: &'static [&'static str],
}

/// What makes an answer depend on more than the values that were given.
const WORLD: [&str; 22] = [
    "axum",
    "fastrand",
    "getrandom",
    "hyper",
    "hyper_util",
    "k8s_openapi",
    "kube",
    "rand",
    "reqwest",
    "rustls",
    "tokio",
    "tokio_rustls",
    "tokio_util",
    "tracing",
    "std::env",
    "std::fs",
    "std::net",
    "std::os",
    "std::process",
    "std::thread",
    "std::time::Instant",
    "std::time::SystemTime",
];

const RULES: [Rule; 11] = [
    Rule {
        module: "api",
        may_use: &[],
        must_not_use: &[
            "axum",
            "fastrand",
            "hyper",
            "rand",
            "reqwest",
            "rustls",
            "tokio",
            "tracing",
            "kube::Api",
            "kube::Client",
            "kube::api",
            "kube::client",
            "kube::runtime",
            "std::env",
            "std::fs",
            "std::net",
            "std::process",
            "std::thread",
            "std::time::Instant",
            "std::time::SystemTime",
        ],
    },
    Rule { module: "core", may_use: &[], must_not_use: &WORLD },
    Rule {
        module: "issuer",
        may_use: &["core", "ops"],
        must_not_use: &["kube", "k8s_openapi", "schemars", "axum"],
    },
    Rule {
        module: "traces",
        may_use: &["core", "issuer", "ops"],
        must_not_use: &["kube", "k8s_openapi", "schemars", "axum", "reqwest", "std::env"],
    },
    Rule {
        module: "account",
        may_use: &["core", "issuer", "ops", "traces"],
        must_not_use: &["kube", "k8s_openapi", "schemars", "axum", "reqwest"],
    },
    // It makes no domain decisions: it uses what it counts and how times are given, and nothing that decides.
    Rule {
        module: "ops",
        may_use: &["core::backoff", "core::endpoint", "core::time", "core::token"],
        must_not_use: &["kube", "k8s_openapi", "schemars", "reqwest"],
    },
    Rule {
        module: "controller",
        may_use: &["api", "core", "issuer", "account", "ops", "traces"],
        must_not_use: &["reqwest", "hyper", "clap", "axum", "std::env"],
    },
    Rule {
        module: "sidecar",
        may_use: &["core", "issuer", "account", "ops", "traces"],
        must_not_use: &["reqwest", "clap", "std::env"],
    },
    Rule { module: "plugin", may_use: &["api", "core", "ops"], must_not_use: &["axum", "std::env"] },
    Rule {
        module: "cli",
        may_use: &["api", "core", "issuer", "ops", "controller", "sidecar", "plugin", "traces"],
        must_not_use: &["reqwest"],
    },
    Rule { module: "main", may_use: &["cli"], must_not_use: &["reqwest", "kube", "tokio"] },
];

/// Whether `path` is `stem` or below it.
fn is_in(path: &str, stem: &str) -> bool {
    path.strip_prefix(stem).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

/// Every breach of the rules in a file.
fn breaches(file: &SourceFile) -> Vec<String> {
    let module = file.module();
    // The root only declares the modules.
    let Some(name) = module.first() else { return Vec::new() };
    let Some(rule) = RULES.iter().find(|rule| rule.module == name) else {
        return vec![format!("{}: add a rule for the module {name}", file.path)];
    };
    let is_breach = |path: &str| match path.strip_prefix("crate") {
        Some(own) if own.is_empty() || own.starts_with("::") => {
            let own = own.trim_start_matches("::");
            !is_in(own, rule.module) && !rule.may_use.iter().any(|module| is_in(own, module))
        }
        _ => rule.must_not_use.iter().any(|stem| is_in(path, stem)),
    };
    let found = references(file).into_iter().filter(|reference| is_breach(&reference.path));
    found.map(|found| format!("{}:{}: {name} must not use {}", file.path, found.line, found.path)).collect()
}

#[test]
fn every_module_uses_only_what_it_may() {
    let found: Vec<String> = program().iter().flat_map(breaches).collect();
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

#[test]
fn every_module_uses_all_that_it_may() {
    let program = program();
    let mut unused = Vec::new();
    for rule in &RULES {
        let files = program.iter().filter(|file| file.module().first().is_some_and(|it| it == rule.module));
        let used: Vec<_> = files.flat_map(references).collect();
        assert!(!used.is_empty(), "{}: no file of this module is found", rule.module);
        let is_unused = |module: &&&str| !used.iter().any(|it| is_in(&it.path, &format!("crate::{module}")));
        unused.extend(rule.may_use.iter().filter(is_unused).map(|module| (rule.module, module)));
    }
    assert!(unused.is_empty(), "take these out of the rules, for nothing uses them: {unused:?}");
}

#[test]
fn a_module_that_breaks_a_rule_is_found() {
    let cases = [
        ("src/core/x.rs", "use crate::api::Spec;"),
        ("src/core/x.rs", "use crate::ops::clock::Clock;"),
        ("src/core/x.rs", "use crate::{core::token, issuer};"),
        ("src/core/x.rs", "use super::super::ops::clock;"),
        ("src/core/mod.rs", "use super::ops::clock;"),
        ("src/core/x/y.rs", "use super::super::super::api;"),
        ("src/core/x.rs", "use tokio::time;"),
        ("src/core/x.rs", "use {std::fmt, tokio};"),
        ("src/core/x.rs", "use {kube as k, std::fmt};"),
        ("src/core/x.rs", "use std::{\n    fmt::{self, Debug},\n    time::{Duration, SystemTime as S},\n};"),
        ("src/core/x.rs", "fn f() { tracing::info!(1) }"),
        ("src/core/x.rs", "use tracing;"),
        ("src/core/x.rs", "use kube as k;"),
        ("src/core/x.rs", "use std::{fmt, time::{Duration, Instant}};"),
        ("src/core/x.rs", "use std::fs;"),
        ("src/core/x.rs", "fn f() { fastrand::u32(..); }"),
        ("src/api/x.rs", "use crate::core::token::AccessToken;"),
        ("src/api/x.rs", "use kube::{Api, CustomResource};"),
        ("src/issuer/x.rs", "use crate::account::Session;"),
        ("src/issuer/x.rs", "use k8s_openapi::api::core::v1::Secret;"),
        ("src/account/x.rs", "use crate::controller::Memory;"),
        ("src/account/x.rs", "fn f() { kube::Client::new(); }"),
        ("src/ops/x.rs", "use crate::core::decide::decide;"),
        ("src/ops/x.rs", "use crate::account::Session;"),
        ("src/controller/x.rs", "use crate::cli::Arguments;"),
        ("src/controller/x.rs", "use reqwest::Client;"),
        ("src/main.rs", "use idissuer::controller::run;"),
        ("src/bin/plugin.rs", "use idissuer::core::token;"),
        ("src/attic/mod.rs", "fn f() {}"),
    ];
    for (path, code) in cases {
        assert!(!breaches(&SourceFile::new(path, code)).is_empty(), "not found in {path}: {code}");
    }
}

#[test]
fn what_is_allowed_is_not_found() {
    let cases = [
        ("src/core/x.rs", "use super::token::AccessToken; use crate::core::time::Moment;"),
        ("src/core/x.rs", "use std::{fmt, time::Duration}; use jiff::Timestamp;"),
        ("src/core/x.rs", "// tokio::spawn, crate::ops\nconst TEXT: &str = \"crate::ops::clock\";"),
        ("src/core/x.rs", "fn f() { let tokio = 1; g(tokio); my_tokio::f(); core::mem::take(x); }"),
        ("src/core/x.rs", "#[cfg(test)]\nmod tests { use crate::ops::clock; use tokio::time; }"),
        ("src/core/x/y.rs", "use super::super::token;"),
        ("src/issuer/x.rs", "use crate::core::token; use crate::ops::clock::Clock; use reqwest::Client;"),
        ("src/ops/x.rs", "use crate::core::time::Moment;"),
        ("src/lib.rs", "pub mod core;"),
    ];
    for (path, code) in cases {
        assert_eq!(breaches(&SourceFile::new(path, code)), Vec::<String>::new(), "{path}: {code}");
    }
}
