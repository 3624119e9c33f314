//! The tables of the reference are made from what they describe: `make reference` writes them into the pages.

mod alerts;
mod exit_codes;
mod flags;
mod limits;
mod logs;
mod markdown;
mod metrics;
mod resource;
mod runbooks;

use std::fs;
use std::path::PathBuf;

use crate::source::root;

/// A part of a page that is made. People write what stands around it.
struct Part {
    /// The page, below `docs/src`.
    page: &'static str,
    /// What its first and last line name.
    name: &'static str,
    made: fn() -> String,
}

// A lib test makes the reasons, because their examples are there: see `ops::documentation`.
const PARTS: [Part; 11] = [
    Part { page: "SUMMARY.md", name: "runbooks", made: runbooks::list },
    Part { page: "limits.md", name: "limits", made: limits::tables },
    Part { page: "reference/alerts.md", name: "alerts", made: alerts::table },
    Part { page: "reference/exit-codes.md", name: "exit codes", made: exit_codes::table },
    Part { page: "reference/flags.md", name: "flags", made: flags::tables },
    Part { page: logs::PAGE, name: logs::OPERATOR, made: logs::operator },
    Part { page: logs::PAGE, name: logs::BOTH, made: logs::both },
    Part { page: logs::PAGE, name: logs::SIDECAR, made: logs::sidecar },
    Part { page: "reference/metrics.md", name: "metrics", made: metrics::tables },
    Part { page: "reference/resource.md", name: "spec", made: resource::spec },
    Part { page: "reference/resource.md", name: "status", made: resource::status },
];

impl Part {
    fn path(&self) -> PathBuf {
        root().join("docs/src").join(self.page)
    }

    /// The page with this part as it is made now.
    fn of(&self, page: &str) -> String {
        let Self { name, made, .. } = self;
        let (first, last) = (format!("<!-- made: {name} (`make reference`) -->\n"), "<!-- /made -->");
        let (before, rest) =
            page.split_once(&first).unwrap_or_else(|| panic!("{} has no line {first}", self.page));
        let (_, after) = rest.split_once(last).unwrap_or_else(|| panic!("{}: {last} is missing", self.page));
        // Inside of a list, both lines are indented.
        let indentation = before.rsplit('\n').next().unwrap_or_default();
        format!("{before}{first}\n{}\n\n{indentation}{last}{after}", made().trim_matches('\n'))
    }
}

#[test]
fn every_table_of_the_reference_is_made_from_what_it_describes() {
    for part in &PARTS {
        let page = fs::read_to_string(part.path()).unwrap();
        assert!(
            page == part.of(&page),
            "{}: the {} are outdated: run `make reference` and commit it",
            part.page,
            part.name
        );
    }
}

#[test]
#[ignore = "writes pages of the book: `make reference`"]
fn write_the_tables() {
    for part in &PARTS {
        let page = fs::read_to_string(part.path()).unwrap();
        fs::write(part.path(), part.of(&page)).unwrap();
    }
}
