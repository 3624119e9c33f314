//! What a file names: each path in its code and its imports, as `a::b::c`. Tests do not count.

use proc_macro2::{TokenStream, TokenTree};
use syn::visit::{self, Visit};
use syn::{Attribute, ItemExternCrate, ItemMod, ItemUse, Macro, MetaList, Path, UseTree};

use crate::source::{SourceFile, is_for_tests, line};

#[derive(Debug, PartialEq)]
pub(crate) struct Reference {
    pub(crate) line: usize,
    /// Complete, if it begins with `crate`, `self` or `super`: `crate::core::token`.
    pub(crate) path: String,
}

/// All paths that a file names outside of tests.
pub(crate) fn references(file: &SourceFile) -> Vec<Reference> {
    let mut visitor = Visitor { module: file.module(), found: Vec::new() };
    file.items().iter().for_each(|item| visitor.visit_item(item));
    visitor.found
}

struct Visitor {
    module: Vec<String>,
    found: Vec<Reference>,
}

impl Visitor {
    fn add(&mut self, line: usize, path: &[String]) {
        let mut base = match path[0].as_str() {
            "self" | "super" => ["crate".to_owned()].into_iter().chain(self.module.clone()).collect(),
            _ => Vec::new(),
        };
        for step in path {
            match step.as_str() {
                "self" => {}
                "super" => drop(base.pop()),
                // The library, as `src/main.rs` calls it.
                "idissuer" if base.is_empty() => base.push("crate".to_owned()),
                _ => base.push(step.clone()),
            }
        }
        self.found.push(Reference { line, path: base.join("::") });
    }

    fn add_import(&mut self, tree: &UseTree, before: &[String]) {
        let and = |name: String| [before, &[name]].concat();
        match tree {
            UseTree::Path(path) => self.add_import(&path.tree, &and(path.ident.to_string())),
            UseTree::Group(group) => group.items.iter().for_each(|tree| self.add_import(tree, before)),
            UseTree::Name(name) => self.add(line(name.ident.span()), &and(name.ident.to_string())),
            UseTree::Rename(name) => self.add(line(name.ident.span()), &and(name.ident.to_string())),
            UseTree::Glob(glob) => self.add(line(glob.star_token.span), &and("*".to_owned())),
        }
    }

    /// Adds the paths of what a macro or an attribute gets, whose syntax only it knows.
    fn add_tokens(&mut self, tokens: TokenStream) {
        let mut tokens = tokens.into_iter().peekable();
        while let Some(token) = tokens.next() {
            match token {
                TokenTree::Group(group) => self.add_tokens(group.stream()),
                TokenTree::Ident(first) => {
                    let mut path = vec![first.to_string()];
                    while let Some(TokenTree::Punct(_)) = tokens.next_if(is_colon) {
                        tokens.next_if(is_colon);
                        path.extend(
                            tokens.next_if(|it| matches!(it, TokenTree::Ident(_))).map(|it| it.to_string()),
                        );
                    }
                    if path.len() > 1 {
                        self.add(line(first.span()), &path);
                    }
                }
                _ => {}
            }
        }
    }
}

fn is_colon(token: &TokenTree) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == ':')
}

impl<'ast> Visit<'ast> for Visitor {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        let attributes: &[Attribute] = match item {
            syn::Item::Fn(item) => &item.attrs,
            syn::Item::Impl(item) => &item.attrs,
            syn::Item::Mod(item) => &item.attrs,
            syn::Item::Use(item) => &item.attrs,
            _ => &[],
        };
        if !is_for_tests(attributes) {
            visit::visit_item(self, item);
        }
    }

    fn visit_item_mod(&mut self, module: &'ast ItemMod) {
        self.module.push(module.ident.to_string());
        visit::visit_item_mod(self, module);
        self.module.pop();
    }

    fn visit_item_use(&mut self, import: &'ast ItemUse) {
        self.add_import(&import.tree, &[]);
    }

    fn visit_item_extern_crate(&mut self, import: &'ast ItemExternCrate) {
        self.add(line(import.ident.span()), &[import.ident.to_string()]);
    }

    fn visit_path(&mut self, path: &'ast Path) {
        // One name alone is something local, or was imported.
        if path.segments.len() > 1 {
            let names: Vec<_> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
            self.add(line(path.segments[0].ident.span()), &names);
        }
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &'ast Macro) {
        self.visit_path(&call.path);
        self.add_tokens(call.tokens.clone());
    }

    fn visit_meta_list(&mut self, list: &'ast MetaList) {
        self.visit_path(&list.path);
        self.add_tokens(list.tokens.clone());
    }
}

#[test]
fn every_path_of_a_file_is_found_and_none_of_its_tests() {
    let text = r#"
        //! a::comment
        use a::{b::{self, c as d}, e::*};
        use f;
        extern crate g;
        /// [`b::comment`]
        #[derive(h::I)]
        struct S(j::K<l::M>);
        fn n() { let text = "c::text"; o::p(|| q!("{}", r::s(t::u))); v :: w(); crate::z::a(); super::y::b(); }
        mod inner { fn f() { super::super::x(); self::z(); } }
        #[cfg(test)] use d::test;
        #[cfg(test)] mod tests { use e::test; }
    "#;
    let found = references(&SourceFile::new("src/core/x.rs", text));
    let paths: Vec<_> = found.iter().map(|reference| reference.path.as_str()).collect();
    let imports = ["a::b", "a::b::c", "a::e::*", "f", "g"];
    let code = ["h::I", "j::K", "l::M", "o::p", "r::s", "t::u", "v::w", "crate::z::a", "crate::core::y::b"];
    let inner = ["crate::core::x", "crate::core::x::inner::z"];
    assert_eq!(paths, [&imports[..], &code[..], &inner[..]].concat());
    assert_eq!((found[0].line, found[6].line), (3, 8));
}
