//! The rooms, and the one direction in which they may look:
//! `api, core ← issuer ← account ← controller, sidecar ← cli, main`; `ops` may be used from `issuer` upwards.

use regex_lite::Regex;

use crate::source::{SourceFile, rust_files};

/// A room and the rules of it.
struct Room {
    name: &'static str,
    /// The other rooms that it may look at; with modules, only at these of them.
    sees: &'static [&'static str],
    /// What it must not use. A path stands for all below it.
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

const ROOMS: [Room; 9] = [
    Room {
        name: "api",
        sees: &[],
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
    Room { name: "core", sees: &[], must_not_use: &WORLD },
    Room {
        name: "issuer",
        sees: &["core", "ops"],
        must_not_use: &["kube", "k8s_openapi", "schemars", "axum"],
    },
    Room {
        name: "account",
        sees: &["core", "issuer", "ops"],
        must_not_use: &["kube", "k8s_openapi", "schemars", "axum", "reqwest"],
    },
    // It holds no domain decisions: of the core it knows what it counts and how time is told, and nothing that decides.
    Room {
        name: "ops",
        sees: &["core::backoff", "core::endpoint", "core::time", "core::token"],
        must_not_use: &["kube", "k8s_openapi", "schemars", "reqwest"],
    },
    Room {
        name: "controller",
        sees: &["api", "core", "issuer", "account", "ops"],
        must_not_use: &["reqwest", "hyper", "clap", "axum", "std::env"],
    },
    Room {
        name: "sidecar",
        sees: &["core", "issuer", "account", "ops"],
        must_not_use: &["reqwest", "clap", "std::env"],
    },
    Room {
        name: "cli",
        sees: &["api", "core", "issuer", "account", "ops", "controller", "sidecar"],
        must_not_use: &["reqwest"],
    },
    Room { name: "main", sees: &["cli"], must_not_use: &["reqwest", "kube", "tokio"] },
];

/// The paths that a piece of code names, and where: `a::b::c`, each branch of `a::{b, c::d}`, and `use a;`.
fn paths(code: &str) -> Vec<(usize, String)> {
    let path = Regex::new(concat!(
        r"(?:^|[^\w:])((?:[A-Za-z_]\w*\s*::\s*)+)(\{|[A-Za-z_]\w*)",
        r"|\buse\s*(\{)",
        r"|\b(?:use|extern crate)\s+([a-z_]\w*)\s*(?:;|as\b)",
    ));
    let mut found = Vec::new();
    for captures in path.unwrap().captures_iter(code) {
        let at = captures.get(0).unwrap().start();
        if let Some(alone) = captures.get(4) {
            found.push((at, alone.as_str().to_owned()));
            continue;
        }
        let stem: String = captures.get(1).map_or("", |stem| stem.as_str()).split_whitespace().collect();
        let end = captures.get(2).or(captures.get(3)).unwrap();
        if end.as_str() == "{" {
            let branches = branches(&code[end.end()..]);
            found.extend(branches.into_iter().map(|branch| (at, format!("{stem}{branch}"))));
        } else {
            found.push((at, format!("{stem}{}", end.as_str())));
        }
    }
    found
}

/// What stands between the braces of an import, to its closing brace, each branch written out.
fn branches(code: &str) -> Vec<String> {
    let (mut stems, mut branch, mut found) = (vec![String::new()], String::new(), Vec::new());
    for c in code.chars() {
        match c {
            '{' => {
                stems.push(format!("{}{}", stems.last().unwrap(), branch.trim()));
                branch.clear();
            }
            ',' | '}' => {
                // Without `as` and what it is called from here on.
                if let Some(name) = branch.split_whitespace().next() {
                    found.push(format!("{}{name}", stems.last().unwrap()));
                }
                branch.clear();
                if c == '}' {
                    stems.pop();
                }
                if stems.is_empty() {
                    break;
                }
            }
            _ => branch.push(c),
        }
    }
    found
}

/// Whether `path` is `stem` or lies below it.
fn lies_in(path: &str, stem: &str) -> bool {
    path.strip_prefix(stem).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

/// Every breach of the rules in a file.
fn breaches(file: &SourceFile) -> Vec<String> {
    let (module, code) = (file.module(), file.code());
    let name = if module[0] == "bin" { "main" } else { module[0] };
    if name == "lib" {
        return Vec::new();
    }
    let Some(room) = ROOMS.iter().find(|room| room.name == name) else {
        return vec![format!("{}: no rule knows this room", file.path)];
    };
    let tell = |at: usize, what: &str| {
        let line = code[..at].matches('\n').count() + 1;
        format!("{}:{line}: {} must not {what}", file.path, room.name)
    };
    let mut found = Vec::new();
    for (at, path) in paths(&code) {
        let own = path.strip_prefix("crate::").or_else(|| path.strip_prefix("idissuer::"));
        if let Some(own) = own {
            let is_allowed = lies_in(own, room.name) || room.sees.iter().any(|seen| lies_in(own, seen));
            if !is_allowed {
                found.push(tell(at, &format!("look at {own}")));
            }
        } else if room.must_not_use.iter().any(|stem| lies_in(&path, stem)) {
            found.push(tell(at, &format!("use {path}")));
        }
        // Deep enough, `super` leads out of the room.
        let climbs = path.split("::").take_while(|&step| step == "super").count();
        if climbs >= module.len() {
            found.push(tell(at, &format!("climb out by {path}")));
        }
        let reads_clock = ["Timestamp::now", "Zoned::now", "Instant::now", "SystemTime::now"];
        if room.name != "ops"
            && reads_clock.iter().any(|clock| path.ends_with(clock))
            && !path.starts_with("tokio::")
        {
            found.push(tell(at, &format!("read a clock by {path}")));
        }
    }
    found
}

#[test]
fn every_room_looks_in_one_direction_and_knows_only_what_it_should() {
    let found: Vec<String> = rust_files("src").iter().flat_map(breaches).collect();
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

#[test]
fn every_room_exists_and_imports_are_seen() {
    let files = rust_files("src");
    for room in ROOMS.iter().filter(|room| room.name != "main") {
        let of_room: Vec<_> = files.iter().filter(|file| file.module()[0] == room.name).collect();
        assert!(!of_room.is_empty(), "{}", room.name);
        let looks: Vec<String> = of_room
            .iter()
            .flat_map(|file| paths(&file.code()))
            .filter_map(|(_, path)| path.strip_prefix("crate::").map(str::to_owned))
            .collect();
        for seen in room.sees.iter().filter(|seen| !["api", "sidecar", "issuer", "account"].contains(seen)) {
            let is_used = looks.iter().any(|look| lies_in(look, seen));
            assert!(
                is_used || room.name == "cli",
                "{} does not look at {seen}: is the rule still right?",
                room.name
            );
        }
    }
}

#[test]
fn a_room_that_breaks_a_rule_is_found() {
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
        ("src/core/x.rs", "let t = Timestamp::now();"),
        ("src/core/x.rs", "let t = jiff::Timestamp :: now();"),
        ("src/core/x.rs", "let r = fastrand::u32(..);"),
        ("src/api/x.rs", "use crate::core::token::AccessToken;"),
        ("src/api/x.rs", "use kube::{Api, CustomResource};"),
        ("src/issuer/x.rs", "use crate::account::Session;"),
        ("src/issuer/x.rs", "use k8s_openapi::api::core::v1::Secret;"),
        ("src/account/x.rs", "use crate::controller::Memory;"),
        ("src/account/x.rs", "let c = kube::Client::new();"),
        ("src/ops/x.rs", "use crate::core::decide::decide;"),
        ("src/ops/x.rs", "use crate::account::Session;"),
        ("src/controller/x.rs", "use crate::cli::Arguments;"),
        ("src/controller/x.rs", "use reqwest::Client;"),
        ("src/controller/x.rs", "let now = std::time::SystemTime::now();"),
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
        ("src/core/x.rs", "// tokio::spawn, crate::ops\nlet text = \"crate::ops::clock\";"),
        ("src/core/x.rs", "let tokio = 1; my_tokio::f(); core::mem::take(x);"),
        ("src/core/x.rs", "#[cfg(test)]\nmod tests { use crate::ops::clock; use tokio::time; }"),
        ("src/core/x/y.rs", "use super::super::token;"),
        ("src/issuer/x.rs", "use crate::core::token; use crate::ops::clock::Clock; use reqwest::Client;"),
        ("src/account/x.rs", "let at = tokio::time::Instant::now();"),
        ("src/ops/x.rs", "use crate::core::time::Moment; let now = Timestamp::now();"),
        ("src/lib.rs", "pub mod core;"),
    ];
    for (path, code) in cases {
        assert_eq!(breaches(&SourceFile::new(path, code)), Vec::<String>::new(), "{path}: {code}");
    }
}
