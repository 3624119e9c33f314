//! The components of a program, for vulnerability scanners.
//!
//! Written by hand: `cargo-cyclonedx` knows nothing of what an image has from Debian, writes a file for each member into
//! the sources, and is one more program to build; the crate `cyclonedx-bom` brings 70 others, for three lists of JSON.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::error::{Error, Result};

/// What comes into an image from Debian, with its licence. libgcc has its exception for linked programs.
const OF_DEBIAN: [(&str, &str); 3] = [
    ("ca-certificates", "MPL-2.0"),
    ("libc6-dev", "LGPL-2.1-or-later"),
    ("libgcc-12-dev", "GPL-3.0-or-later WITH GCC-exception-3.1"),
];

/// A package that is linked into a program.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Package {
    name: String,
    version: String,
    licence: String,
}

impl Package {
    /// One line of what `cargo tree` prints: `name v1.2.3 (place)|licence`.
    fn parse(line: &str) -> Self {
        let (package, licence) = line.split_once('|').unwrap_or((line, ""));
        let mut words = package.split_whitespace();
        let name = words.next().unwrap_or_default().to_owned();
        let version = words.next().unwrap_or_default().trim_start_matches('v').to_owned();
        // Before SPDX expressions, a slash stood for a choice.
        let licence = licence.trim_end_matches(" (*)").replace(" / ", " OR ").replace('/', " OR ");
        Self { name, version, licence }
    }

    fn reference(&self) -> String {
        format!("pkg:cargo/{}@{}", self.name, self.version).replace('+', "%2B")
    }

    fn component(&self, kind: &str, reference: &str) -> Value {
        json!({
            "type": kind,
            "bom-ref": reference,
            "name": self.name,
            "version": self.version,
            "purl": reference,
            "licenses": [{ "expression": self.licence }],
        })
    }
}

/// The bill of materials of a package of the workspace in `root`, in the form of `CycloneDX`: each crate that is linked
/// into it on this machine's system, and what its image has from Debian.
///
/// # Errors
/// When cargo does not answer, or `Cargo.lock` cannot be read.
pub fn bill_of_materials(root: &Path, package: &str) -> Result<Value> {
    let graph = graph(root, package)?;
    let path = root.join("Cargo.lock");
    let checksums = checksums(&fs::read_to_string(&path).map_err(Error::file("read", path))?);
    let mut program = Value::Null;
    let mut components = Vec::new();
    for crate_ in graph.keys() {
        if crate_.name == package {
            program = crate_.component("application", &crate_.reference());
            continue;
        }
        let mut component = crate_.component("library", &crate_.reference());
        if let Some(checksum) = checksums.get(&(crate_.name.as_str().into(), crate_.version.as_str().into()))
        {
            component["hashes"] = json!([{ "alg": "SHA-256", "content": checksum }]);
        }
        components.push(component);
    }
    components.extend(of_debian());
    let dependencies = graph.iter().map(|(crate_, needed)| {
        let needed: Vec<_> = needed.iter().map(Package::reference).collect();
        json!({ "ref": crate_.reference(), "dependsOn": needed })
    });
    Ok(json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": { "component": program },
        "components": components,
        "dependencies": dependencies.collect::<Vec<_>>(),
    }))
}

/// Each crate that is linked into a package, and what it needs.
fn graph(root: &Path, package: &str) -> Result<BTreeMap<Package, BTreeSet<Package>>> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let tree = output(Command::new(cargo).current_dir(root).args([
        "tree",
        "--locked",
        "--package",
        package,
        "--edges=normal,no-proc-macro",
        "--prefix=depth",
        "--format= {p}|{l}",
    ]))?;
    let mut graph = BTreeMap::<Package, BTreeSet<Package>>::new();
    let mut path: Vec<Package> = Vec::new();
    for (depth, line) in tree.lines().filter_map(|line| line.split_once(' ')) {
        let found = Package::parse(line);
        path.truncate(depth.parse().unwrap_or_default());
        if let Some(parent) = path.last() {
            graph.entry(parent.clone()).or_default().insert(found.clone());
        }
        graph.entry(found.clone()).or_default();
        path.push(found);
    }
    Ok(graph)
}

/// The checksums in a `Cargo.lock`, by name and version.
fn checksums(lock: &str) -> BTreeMap<(String, String), String> {
    let field = |package: &str, name: &str| {
        let start = format!("{name} = \"");
        let line = package.lines().find_map(|line| line.strip_prefix(&start))?;
        Some(line.trim_end_matches('"').to_owned())
    };
    let entries = lock.split("[[package]]").filter_map(|package| {
        Some(((field(package, "name")?, field(package, "version")?), field(package, "checksum")?))
    });
    entries.collect()
}

/// The packages of Debian that images are made of, where this machine has them.
fn of_debian() -> Vec<Value> {
    let packages = OF_DEBIAN.iter().filter_map(|(name, licence)| {
        let asked = output(Command::new("dpkg-query").args(["--show", "--showformat=${Version}", name]));
        let version = asked.ok()?;
        let reference = format!("pkg:deb/debian/{name}@{version}").replace('+', "%2B");
        let package = Package { name: (*name).to_owned(), version, licence: (*licence).to_owned() };
        Some(package.component("library", &reference))
    });
    packages.collect()
}

fn output(command: &mut Command) -> Result<String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|source| Error::Spawn { program: program.clone(), source })?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(Error::Command { program, output: String::from_utf8_lossy(&output.stderr).into_owned() })
    }
}
