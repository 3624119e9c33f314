//! Selectors of labels, as Kubernetes evaluates them.

use std::collections::{BTreeMap, BTreeSet};

/// The labels of an object.
pub type Labels = BTreeMap<String, String>;

/// What labels must be: all of these. One without expressions selects nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector(Vec<Expression>);

/// What one label must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expression {
    /// The key of the label.
    pub key: String,
    /// How it is compared.
    pub operator: Operator,
}

/// How a label is compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operator {
    /// It has one of these values.
    In(BTreeSet<String>),
    /// It has none of these values, or does not exist.
    NotIn(BTreeSet<String>),
    /// It exists.
    Exists,
    /// It does not exist.
    DoesNotExist,
}

impl Selector {
    /// All of these expressions must hold.
    #[must_use]
    pub fn of(expressions: Vec<Expression>) -> Self {
        Self(expressions)
    }

    /// Whether it selects an object with these labels.
    #[must_use]
    pub fn selects(&self, labels: &Labels) -> bool {
        !self.0.is_empty() && self.0.iter().all(|expression| expression.holds(labels))
    }
}

impl Expression {
    fn holds(&self, labels: &Labels) -> bool {
        let value = labels.get(&self.key);
        match &self.operator {
            Operator::In(values) => value.is_some_and(|value| values.contains(value)),
            Operator::NotIn(values) => value.is_none_or(|value| !values.contains(value)),
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_selector_selects_by_all_its_expressions_and_an_empty_one_nothing() {
        let labels: Labels =
            [("team", "sales"), ("tier", "")].map(|(key, value)| (key.to_owned(), value.to_owned())).into();
        let values =
            |values: &[&str]| values.iter().map(|value| (*value).to_owned()).collect::<BTreeSet<_>>();
        let is = |key: &str, operator: Operator| Expression { key: key.to_owned(), operator };
        let team = || is("team", Operator::In(values(&["sales", "support"])));
        for (expressions, selects) in [
            (vec![], false),
            (vec![team()], true),
            (vec![is("team", Operator::In(values(&["support"])))], false),
            (vec![is("other", Operator::In(values(&["sales"])))], false),
            (vec![is("team", Operator::NotIn(values(&["sales"])))], false),
            (vec![is("team", Operator::NotIn(values(&["support"])))], true),
            (vec![is("other", Operator::NotIn(values(&["sales"])))], true),
            (vec![is("tier", Operator::Exists)], true),
            (vec![is("other", Operator::Exists)], false),
            (vec![is("tier", Operator::DoesNotExist)], false),
            (vec![is("other", Operator::DoesNotExist)], true),
            (vec![team(), is("tier", Operator::Exists)], true),
            (vec![team(), is("tier", Operator::DoesNotExist)], false),
        ] {
            assert_eq!(Selector::of(expressions.clone()).selects(&labels), selects, "{expressions:?}");
        }
    }
}
