//! What the API serves.

/// A kind of object. All but namespaces live in namespaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Resource {
    pub(super) group: &'static str,
    pub(super) version: &'static str,
    pub(super) plural: &'static str,
    pub(super) kind: &'static str,
    pub(super) nature: Nature,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Nature {
    Secret,
    /// Of a definition: with a generation, and a status that is written apart.
    Custom,
    Plain,
    /// Plain, and in no namespace.
    Global,
    /// Plain, and only the newest are kept.
    Passing,
}

pub(super) const RESOURCES: [Resource; 5] = [
    Resource { group: "", version: "v1", plural: "namespaces", kind: "Namespace", nature: Nature::Global },
    Resource { group: "", version: "v1", plural: "secrets", kind: "Secret", nature: Nature::Secret },
    Resource {
        group: "coordination.k8s.io",
        version: "v1",
        plural: "leases",
        kind: "Lease",
        nature: Nature::Plain,
    },
    Resource {
        group: "events.k8s.io",
        version: "v1",
        plural: "events",
        kind: "Event",
        nature: Nature::Passing,
    },
    Resource {
        group: "idissuer.pl",
        version: "v1alpha1",
        plural: "idissuercredentials",
        kind: "IdIssuerCredential",
        nature: Nature::Custom,
    },
];

impl Resource {
    pub(super) fn find(group: &str, version: &str, plural: &str) -> Option<Self> {
        RESOURCES.into_iter().find(|resource| {
            resource.group == group && resource.version == version && resource.plural == plural
        })
    }

    pub(super) fn of_plural(plural: &str) -> Option<Self> {
        RESOURCES.into_iter().find(|resource| resource.plural == plural)
    }

    pub(super) fn of_kind(api_version: &str, kind: &str) -> Option<Self> {
        RESOURCES.into_iter().find(|resource| resource.kind == kind && resource.api_version() == api_version)
    }

    pub(super) fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.to_owned()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }

    /// The name of the resource in error messages.
    pub(super) fn qualified(&self) -> String {
        if self.group.is_empty() { self.plural.to_owned() } else { format!("{}.{}", self.plural, self.group) }
    }

    pub(super) fn is_global(&self) -> bool {
        self.nature == Nature::Global
    }

    pub(super) fn is_custom(&self) -> bool {
        self.nature == Nature::Custom
    }
}
