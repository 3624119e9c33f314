//! The table of rights in the plugin's page names all that each command asks of the API server.

use idissuer_testbed::{Mark, count};
use serde_json::json;

use crate::operator::{HOUR, NAME, Stage, issuer};
use crate::plugin::Person;

const PAGE: &str = include_str!("../../docs/src/tasks/plugin.md");

/// Beginnings of rows of the table, and the command that they speak of.
const COMMANDS: [(&str, &[&str]); 14] = [
    ("| `status` |", &["status"]),
    ("| `status NAME` |", &["status", NAME]),
    ("| `explain NAME` |", &["explain", NAME]),
    ("| `renew NAME` |", &["renew", NAME]),
    ("| `suspend NAME`,", &["suspend", NAME]),
    ("| `suspend NAME`,", &["resume", NAME]),
    ("| `verify NAME`,", &["verify", NAME]),
    ("| `verify NAME`,", &["token", NAME, "--reveal"]),
    ("| `create --apply` |", &["create", NAME, "--login-secret", "billing-login", "--apply"]),
    ("| `login-secret create` |", &["login-secret", "create", "new", "--username", "me", "--password-stdin"]),
    ("| `check` |", &["check"]),
    ("| `version` |", &["version"]),
    ("| `logs` |", &["logs"]),
    ("| `report` |", &["report", "--file", "/dev/null"]),
];

/// What the API server lets everybody ask.
fn is_free(resource: &str) -> bool {
    resource.starts_with('/')
}

#[tokio::test]
async fn the_table_of_rights_names_all_that_each_command_asks() {
    let stage = Stage::start("plugin-rights", issuer(HOUR)).await;
    stage.apply(json!({})).await;
    stage.ready().await;
    let audit = stage.control_plane.audit();
    let (_, table) = PAGE.split_once("## Rights").unwrap();
    let (mut asked, mut missing) = (0, Vec::new());
    for (index, (row, words)) in COMMANDS.into_iter().enumerate() {
        let found =
            table.lines().find(|line| line.starts_with(row)).unwrap_or_else(|| panic!("no row {row}"));
        let row = found.to_lowercase();
        let person = Person::administrator_named(&stage, &format!("auditor-{index}"));
        person.run_with_input(words, "password").await;
        let requests = audit.of_user_since(&person.name, Mark::START).unwrap();
        for (verb, resource) in count(&requests).into_keys().filter(|(_, resource)| !is_free(resource)) {
            asked += 1;
            let is_named = row.contains(&format!("`{verb}`")) && row.contains(resource.trim_end_matches('s'));
            missing.extend((!is_named).then(|| format!("{words:?} asks to {verb} {resource}: {found}")));
        }
    }
    assert!(asked > 25, "{asked} requests only");
    assert!(missing.is_empty(), "{missing:#?}");
}
