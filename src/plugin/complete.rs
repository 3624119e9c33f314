//! Completion for kubectl, which runs `kubectl_complete-idissuer` with the words of the command line.
//!
//! It prints one choice a line, a description after a tab, and at the end `:` with what the shell may do: 4, as in
//! cobra, for no names of files.

use clap::Command;

use super::Context;
use super::cluster::{Cluster, Scope};

/// What the shell shall not do.
const NO_FILES: &str = ":4";

/// What fits the last word.
#[derive(Debug, PartialEq, Eq)]
enum Wanted {
    /// These words.
    Words(Vec<(String, String)>),
    /// Names of credentials.
    Credentials,
    /// Names of namespaces.
    Namespaces,
    Nothing,
}

/// Prints the choices. A cluster that does not answer has none.
pub(super) async fn run(
    words: &[String],
    command: &Command,
    context: &mut Context<'_>,
) -> Result<(), super::Failure> {
    let last = words.last().map(String::as_str).unwrap_or_default();
    let choices = match wanted(words, command) {
        Wanted::Words(words) => words,
        Wanted::Credentials => {
            let namespace = value_of(words, &["-n", "--namespace"]).map(str::to_owned);
            names(context, namespace).await
        }
        Wanted::Namespaces => namespaces(context).await,
        Wanted::Nothing => Vec::new(),
    };
    for (choice, about) in choices.iter().filter(|(choice, _)| choice.starts_with(last)) {
        let about = if about.is_empty() { String::new() } else { format!("\t{about}") };
        context.screen.line(&format!("{choice}{about}"))?;
    }
    context.screen.line(NO_FILES)
}

async fn names(context: &Context<'_>, namespace: Option<String>) -> Vec<(String, String)> {
    let Ok(cluster) = context.cluster().await else { return Vec::new() };
    let Cluster { namespace: own, .. } = &cluster;
    let namespace = namespace.as_deref().unwrap_or(own);
    let credentials = cluster.credentials(Scope::Namespace(namespace), None).await.unwrap_or_default();
    let names = credentials.known.iter().filter_map(|it| it.metadata.name.clone());
    names.map(|name| (name, String::new())).collect()
}

async fn namespaces(context: &Context<'_>) -> Vec<(String, String)> {
    let Ok(cluster) = context.cluster().await else { return Vec::new() };
    let namespaces = cluster.namespaces().await.unwrap_or_default();
    namespaces.into_iter().map(|name| (name, String::new())).collect()
}

/// The value of a flag in the words before the last.
fn value_of<'a>(words: &'a [String], flags: &[&str]) -> Option<&'a str> {
    let before = words.get(..words.len().saturating_sub(1))?;
    let follows = before.windows(2).find(|pair| flags.contains(&pair[0].as_str()));
    let glued = || {
        before.iter().find_map(|word| flags.iter().find_map(|flag| word.strip_prefix(&format!("{flag}="))))
    };
    follows.map(|pair| pair[1].as_str()).or_else(glued)
}

/// What the last word may be.
fn wanted(words: &[String], root: &Command) -> Wanted {
    let (last, before) = words.split_last().map_or(("", &[][..]), |(last, before)| (last.as_str(), before));
    let mut command = root;
    let mut expects_value = None;
    let mut positionals = 0;
    for word in before {
        if expects_value.take().is_some() {
            continue;
        }
        if word.starts_with('-') {
            expects_value = flag(command, root, word).filter(|_| !word.contains('='));
        } else if let Some(inner) = command.find_subcommand(word) {
            command = inner;
            positionals = 0;
        } else {
            positionals += 1;
        }
    }
    match expects_value {
        Some("namespace" | "operator_namespace") => return Wanted::Namespaces,
        Some(_) => return Wanted::Nothing,
        None => {}
    }
    if last.starts_with('-') {
        return Wanted::Words(flags(command, root));
    }
    let inner: Vec<_> = command.get_subcommands().filter(|inner| !inner.is_hide_set()).collect();
    if !inner.is_empty() {
        let about = |it: &Command| it.get_about().map(ToString::to_string).unwrap_or_default();
        return Wanted::Words(inner.iter().map(|it| (it.get_name().to_owned(), about(it))).collect());
    }
    let takes_name = command.get_positionals().any(|it| it.get_id() == "name" || it.get_id() == "names");
    let takes_many = command.get_positionals().any(|it| it.get_id() == "names");
    let is_new = matches!(command.get_name(), "create");
    if takes_name && !is_new && (takes_many || positionals == 0) {
        Wanted::Credentials
    } else {
        Wanted::Nothing
    }
}

/// The name of the flag, if it takes a value.
fn flag<'a>(command: &'a Command, root: &'a Command, word: &str) -> Option<&'a str> {
    let name = word.trim_start_matches('-').split('=').next().unwrap_or_default();
    let mut all = command.get_arguments().chain(root.get_arguments());
    let found = all.find(|it| {
        it.get_long() == Some(name)
            || it.get_short().is_some_and(|short| name.len() == 1 && name.starts_with(short))
    })?;
    found.get_action().takes_values().then(|| found.get_id().as_str())
}

fn flags(command: &Command, root: &Command) -> Vec<(String, String)> {
    let inherited = root.get_arguments().filter(|it| it.is_global_set());
    let all = command.get_arguments().chain(inherited);
    let mut flags: Vec<_> = all
        .filter_map(|it| {
            let about = it.get_help().map(ToString::to_string).unwrap_or_default();
            it.get_long().map(|long| (format!("--{long}"), about))
        })
        .collect();
    flags.sort();
    flags.dedup_by(|one, other| one.0 == other.0);
    flags
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[derive(Debug, clap::Parser)]
    struct Line {
        #[command(flatten)]
        arguments: super::super::Arguments,
    }

    fn wanted_of(line: &str) -> Wanted {
        let words: Vec<_> = line.split(' ').map(str::to_owned).collect();
        wanted(&words, &Line::command())
    }

    fn words(line: &str) -> Vec<String> {
        match wanted_of(line) {
            Wanted::Words(words) => words.into_iter().map(|(word, _)| word).collect(),
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn commands_flags_and_names_are_completed() {
        assert!(words("").contains(&"status".to_owned()));
        assert!(words("-n shop re").contains(&"renew".to_owned()));
        assert_eq!(words("login-secret "), ["create"]);
        let flags = words("renew --");
        assert!(
            flags.contains(&"--all".to_owned()) && flags.contains(&"--namespace".to_owned()),
            "{flags:?}"
        );
        for line in ["status ", "renew ", "renew one ", "explain b", "status -o json ", "-n shop status "] {
            assert_eq!(wanted_of(line), Wanted::Credentials, "{line}");
        }
        for line in ["-n ", "status -n ", "check --operator-namespace "] {
            assert_eq!(wanted_of(line), Wanted::Namespaces, "{line}");
        }
        for line in ["status one ", "create ", "renew -l "] {
            assert_eq!(wanted_of(line), Wanted::Nothing, "{line}");
        }
    }

    #[test]
    fn the_namespace_on_the_line_counts() {
        let of = |line: &str| {
            let words: Vec<_> = line.split(' ').map(str::to_owned).collect();
            value_of(&words, &["-n", "--namespace"]).map(str::to_owned)
        };
        assert_eq!(of("status -n shop b").as_deref(), Some("shop"));
        assert_eq!(of("status --namespace=shop b").as_deref(), Some("shop"));
        assert_eq!(of("status -n"), None);
    }
}
