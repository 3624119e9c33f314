//! The flags of every command, with the help that the program prints.

use std::fmt::Write as _;

use clap::{Arg, Command, CommandFactory as _};
use idissuer::cli::Arguments;
use regex_lite::Regex;

use super::markdown::{cell, table};

const COLUMNS: [&str; 4] = ["Flag", "Variable", "Default", "Meaning"];

pub(super) fn tables() -> String {
    let mut made = String::new();
    add(&Arguments::command(), "", &mut made);
    assert!(made.matches("\n| `").count() > 100, "the flags are found");
    made
}

/// Adds the flags of a command and of those below it.
fn add(command: &Command, above: &str, made: &mut String) {
    let name = match command.get_name() {
        // As people call it.
        "kubectl" => "kubectl idissuer".to_owned(),
        name => format!("{above} {name}").trim().to_owned(),
    };
    let rows: Vec<_> = command.get_arguments().filter(|argument| !argument.is_hide_set()).map(row).collect();
    if !rows.is_empty() {
        let about = command.get_about().map(|about| cell(&about.to_string())).unwrap_or_default();
        // Writing to a String cannot fail.
        let _ = write!(made, "\n## `{name}`\n\n{about}.\n\n{}", table(COLUMNS, rows));
    }
    for command in command.get_subcommands().filter(|command| !command.is_hide_set()) {
        add(command, &name, made);
    }
}

fn row(argument: &Arg) -> [String; 4] {
    let help = argument.get_long_help().or(argument.get_help()).map(ToString::to_string).unwrap_or_default();
    let (help, default) = without(&help, "default");
    let (help, variable) = without(&help, "env");
    let variable =
        argument.get_env().map(|name| name.display().to_string()).or(variable.map(|it| it.replace('`', "")));
    let values: Vec<_> =
        argument.get_default_values().iter().map(|value| value.display().to_string()).collect();
    let default = match default {
        Some(text) => cell(&text),
        None if !values.is_empty() => format!("`{}`", values.join(",")),
        None if !argument.get_action().takes_values() => "off".to_owned(),
        None => String::new(),
    };
    let variable = variable.map(|name| format!("`{name}`")).unwrap_or_default();
    let several =
        if argument.get_value_delimiter().is_some() { ". Commas separate several values" } else { "" };
    [format!("`{}`", spelled(argument)), variable, default, cell(&help) + several + &choices(argument)]
}

/// The flag as it is written on a command line.
fn spelled(argument: &Arg) -> String {
    let is_flag = argument.get_long().is_some();
    let named = argument.get_value_names().map(|names| names.join(" "));
    let value = named.unwrap_or_else(|| argument.get_id().as_str().to_uppercase());
    let short = argument.get_short().map(|short| format!("-{short}, ")).unwrap_or_default();
    match argument.get_long() {
        Some(long) if argument.get_action().takes_values() => format!("{short}--{long} {value}"),
        Some(long) => format!("{short}--{long}"),
        None => value,
    }
    .replace('|', if is_flag { "\\|" } else { "|" })
}

/// The values that it may have, if they are few, with the help of each.
fn choices(argument: &Arg) -> String {
    let choices = argument.get_possible_values();
    let is_few = argument.get_action().takes_values() && !choices.iter().any(|it| it.get_name() == "true");
    let told = choices.iter().filter(|choice| is_few && !choice.is_hide_set()).map(|choice| {
        let help = choice.get_help().map(|help| format!(": {}", cell(&help.to_string()))).unwrap_or_default();
        format!("`{}`{help}", choice.get_name())
    });
    let told = told.collect::<Vec<_>>().join("; ");
    if told.is_empty() { told } else { format!(". {told}") }
}

/// A help without what it says of this in brackets, and that.
fn without(help: &str, what: &str) -> (String, Option<String>) {
    let note = Regex::new(&format!(r"\s*\[{what}: ([^\]]+)\]")).unwrap();
    let found = note.captures(help).map(|found| found[1].to_owned());
    (note.replace(help, "").into_owned(), found)
}
