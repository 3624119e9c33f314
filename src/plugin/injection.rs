//! Annotations that ask for the sidecar and do nothing, because they are misspelled or on the wrong object.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

/// The annotations that the chart's admission policy understands.
pub(super) const SECRET: &str = "idissuer.pl/inject-secret";
const PORT: &str = "idissuer.pl/inject-port";
/// How many letters a misspelled name may differ in.
const SLIPS: usize = 3;
/// The page about injection.
pub(super) const PAGE: &str = "tasks/sidecar.md";

/// A pod, or what makes pods, with the names of its own annotations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Annotated {
    /// As kubectl takes it.
    pub(super) kind: &'static str,
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) annotations: Vec<String>,
    /// The Secret that they ask for, even by a misspelled name.
    pub(super) secret: Option<String>,
}

/// The kind of those that get a sidecar.
pub(super) const POD: &str = "pod";

impl Annotated {
    pub(super) fn new(kind: &'static str, metadata: ObjectMeta) -> Self {
        let annotations = metadata.annotations.unwrap_or_default();
        let secret = annotations.iter().find(|(name, _)| meant(name) == Some(SECRET));
        Self {
            secret: secret.map(|(_, secret)| secret.clone()),
            kind,
            namespace: metadata.namespace.unwrap_or_default(),
            name: metadata.name.unwrap_or_default(),
            annotations: annotations.into_keys().collect(),
        }
    }
}

/// An annotation that does nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Mistake<'a> {
    /// The pod has a name that nobody understands; with the one that is meant.
    Misspelled { pod: &'a Annotated, annotation: &'a str, meant: &'static str },
    /// The annotation belongs to the pods that this object makes.
    Misplaced { object: &'a Annotated, annotation: &'a str },
}

impl Mistake<'_> {
    /// The object and its annotation, as evidence.
    pub(super) fn describe(&self) -> String {
        match self {
            Self::Misspelled { pod: Annotated { name, .. }, annotation, meant } => {
                format!("pod {name}: {annotation}, which should be {meant}")
            }
            Self::Misplaced { object: Annotated { kind, name, .. }, annotation } => {
                format!("{annotation} in metadata.annotations of {kind} {name}")
            }
        }
    }

    /// Where it is.
    pub(super) fn object(&self) -> &Annotated {
        match self {
            Self::Misspelled { pod: object, .. } | Self::Misplaced { object, .. } => object,
        }
    }
}

/// All mistakes, in the order of the objects.
pub(super) fn mistakes(objects: &[Annotated]) -> Vec<Mistake<'_>> {
    let all = objects.iter().flat_map(|object| object.annotations.iter().map(move |it| (object, it)));
    all.filter_map(|(object, annotation)| mistake(object, annotation)).collect()
}

fn mistake<'a>(object: &'a Annotated, annotation: &'a str) -> Option<Mistake<'a>> {
    let meant = meant(annotation)?;
    if object.kind != POD {
        return Some(Mistake::Misplaced { object, annotation });
    }
    (annotation != meant).then_some(Mistake::Misspelled { pod: object, annotation, meant })
}

/// The annotation that somebody meant who wrote this name: it is similar, has another domain or none, or begins like one.
fn meant(name: &str) -> Option<&'static str> {
    let is_like = |known: &str| strsim::damerau_levenshtein(known, name) <= SLIPS;
    let (domain, rest) = name.split_once('/').unwrap_or(("", name));
    let is_elsewhere = |known: &str| {
        known.ends_with(&format!("/{rest}")) && (domain.is_empty() || domain.contains("issuer"))
    };
    let is_close = |known: &str| is_like(known) || is_elsewhere(known);
    let meant = if is_close(PORT) { PORT } else { SECRET };
    (is_close(meant) || name.starts_with("idissuer.pl/inject")).then_some(meant)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// An object with one annotation.
    pub(in crate::plugin) fn annotated(kind: &'static str, annotation: &str) -> Annotated {
        Annotated {
            kind,
            namespace: "shop".to_owned(),
            name: "reports".to_owned(),
            annotations: vec![annotation.to_owned()],
            secret: None,
        }
    }

    #[test]
    fn a_misspelled_name_leads_to_the_one_that_is_meant_and_others_are_left_alone() {
        for (name, expected) in [
            ("idissuer.pl/inject-secret", Some(SECRET)),
            ("idissuer.pl/inject-secrets", Some(SECRET)),
            ("idissuer.pl/injcet-secret", Some(SECRET)),
            ("idissuer.pl/inject", Some(SECRET)),
            ("idissuer.pl/inject_port", Some(PORT)),
            ("idissuer.io/inject-port", Some(PORT)),
            ("id-issuer.example.com/inject-secret", Some(SECRET)),
            ("inject-secret", Some(SECRET)),
            ("inject-port", Some(PORT)),
            ("idissuer.pl/checksum", None),
            ("vault.hashicorp.com/agent-inject-secret-x", None),
            ("cert-manager.io/issuer", None),
            ("kubectl.kubernetes.io/restartedAt", None),
        ] {
            assert_eq!(meant(name), expected, "{name}");
        }
    }

    #[test]
    fn a_right_name_is_a_mistake_only_on_what_makes_pods() {
        assert_eq!(mistakes(&[annotated(POD, SECRET), annotated("deployment", "other.example/a")]), []);
        let objects = [annotated("deployment", SECRET), annotated(POD, "idissuer.pl/inject-secrets")];
        let told: Vec<_> = mistakes(&objects).iter().map(Mistake::describe).collect();
        assert_eq!(
            told,
            [
                "idissuer.pl/inject-secret in metadata.annotations of deployment reports",
                "pod reports: idissuer.pl/inject-secrets, which should be idissuer.pl/inject-secret",
            ]
        );
    }
}
