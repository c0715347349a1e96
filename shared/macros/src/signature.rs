//! What a kernel's signature says, and whether a task can be made of it.

use proc_macro2::{Span, TokenStream, TokenTree};
use quote::quote;
use syn::ext::IdentExt;
use syn::spanned::Spanned;
use syn::{FnArg, GenericArgument, Pat, PatType, PathArguments, PathSegment, ReturnType, Type, TypeReference};

use crate::problems::Problems;
use crate::unit_struct;

/// serde and schemars know tuples up to this length.
const PARAMETERS_MAX: usize = 16;

const NAMED: &str = "name each parameter, as in `n: u64`; take it apart in the body";
const OWNED: &str = "arguments arrive as bytes, so a kernel takes owned values: String for &str, Vec<T> for &[T], \
                     Bytes for binary data; only the first parameter may be a reference, &TaskContext";
const OWNED_OUTPUT: &str = "the output leaves as bytes, so a kernel returns an owned value: String for &str, \
                            Vec<T> for &[T], Bytes for binary data";
const TEXT_ERROR: &str = "a text does not convert into KernelError: return `KernelError::new(text)`, or any type that \
                          implements std::error::Error";
const NO_IMPL: &str = "`impl Trait` has no name that producers could use: write the type itself";

/// Whose signature it is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// A kernel with its body.
    Body,
    /// A declaration of somebody else's kernel.
    Remote,
}

/// How a function's return value becomes a task's.
pub enum Output {
    Unit,
    Value(Type),
    /// `Result<T, E>`, with where `E` (or the whole) is written.
    Result(Type, Span),
}

pub struct Signature {
    /// Whether `&TaskContext` comes first.
    pub context: bool,
    /// The types of the other parameters.
    pub parameters: Vec<Type>,
    /// Their names, empty for `_`, and their doc comments.
    pub named: Vec<(String, String)>,
    pub output: Output,
}

impl Signature {
    /// Reads a signature and notes what is wrong with it.
    pub fn read(signature: &syn::Signature, role: Role, problems: &mut Problems) -> Self {
        check_kind(signature, problems);
        let mut context = false;
        let (mut parameters, mut named) = (Vec::new(), Vec::new());
        for (position, input) in signature.inputs.iter().enumerate() {
            match input {
                FnArg::Receiver(receiver) => {
                    problems.at(receiver, "a kernel is a free function: make `self` an ordinary parameter");
                }
                FnArg::Typed(parameter) if is_context(&parameter.ty) => {
                    context = true;
                    check_context(parameter, position, role, problems);
                }
                FnArg::Typed(parameter) => {
                    check_parameter(parameter, problems);
                    parameters.push((*parameter.ty).clone());
                    named.push((name(parameter), unit_struct::doc(&parameter.attrs)));
                }
            }
        }
        if parameters.len() > PARAMETERS_MAX {
            let message = format!("a kernel takes at most {PARAMETERS_MAX} parameters: gather them in a struct");
            problems.at(&signature.inputs, message);
        }
        Self { context, parameters, named, output: output(&signature.output, role, problems) }
    }

    /// `Kernel::Args`: the sole parameter's type, a tuple of several, `()` of none.
    pub fn args(&self) -> TokenStream {
        match self.parameters.as_slice() {
            [one] => quote!(#one),
            several => quote!((#(#several),*)),
        }
    }

    /// `Kernel::Output`
    pub fn output(&self) -> TokenStream {
        match &self.output {
            Output::Unit => quote!(()),
            Output::Value(output) | Output::Result(output, _) => quote!(#output),
        }
    }
}

fn check_kind(signature: &syn::Signature, problems: &mut Problems) {
    if let Some(keyword) = &signature.asyncness {
        problems.at(keyword, "a kernel computes on a core of its own and cannot be async: remove `async`");
    }
    if let Some(keyword) = &signature.unsafety {
        problems.at(keyword, "a kernel cannot be unsafe: its arguments come from outside");
    }
    if let Some(abi) = &signature.abi {
        problems.at(abi, "a kernel is a plain Rust function: remove `extern`");
    }
    let generics = &signature.generics;
    if !generics.params.is_empty() {
        problems.at(generics, "a kernel cannot be generic: one name stands for one function with fixed types");
    } else if let Some(clause) = &generics.where_clause {
        problems.at(clause, "a kernel cannot be generic: remove the where clause");
    }
    if let Some(variadic) = &signature.variadic {
        problems.at(variadic, "a kernel takes a fixed number of parameters: use a Vec for more");
    }
}

fn is_context(ty: &Type) -> bool {
    match bare(ty) {
        Type::Reference(reference) => is_context(&reference.elem),
        ty => last_segment(ty).is_some_and(|last| last.ident == "TaskContext"),
    }
}

fn check_context(parameter: &PatType, position: usize, role: Role, problems: &mut Problems) {
    check_named(parameter, problems);
    if role == Role::Remote {
        return problems.at(parameter, "leave the context out: a declaration names only what travels");
    }
    let shared = match bare(&parameter.ty) {
        Type::Reference(TypeReference { lifetime, mutability: None, elem, .. }) => {
            lifetime.as_ref().is_none_or(|lifetime| lifetime.ident == "_") && matches!(bare(elem), Type::Path(_))
        }
        _ => false,
    };
    if !shared {
        problems.at(&parameter.ty, "the context is lent for the time of the task: write `&TaskContext`");
    }
    if position != 0 {
        problems.at(parameter, "the context comes first: `fn name(ctx: &TaskContext, …)`");
    }
}

fn check_parameter(parameter: &PatType, problems: &mut Problems) {
    check_named(parameter, problems);
    check_owned(&parameter.ty, OWNED, problems);
}

fn name(parameter: &PatType) -> String {
    match &*parameter.pat {
        Pat::Ident(name) => name.ident.unraw().to_string(),
        _ => String::new(),
    }
}

fn check_named(parameter: &PatType, problems: &mut Problems) {
    match &*parameter.pat {
        Pat::Wild(_) => {}
        Pat::Ident(name) if name.by_ref.is_none() && name.subpat.is_none() => {}
        pattern => problems.at(pattern, NAMED),
    }
}

fn output(output: &ReturnType, role: Role, problems: &mut Problems) -> Output {
    let ReturnType::Type(_, written) = output else { return Output::Unit };
    let ty = bare(written);
    match ty {
        Type::Tuple(tuple) if tuple.elems.is_empty() => return Output::Unit,
        Type::Never(_) => problems.at(ty, "a kernel returns: let its output be a value, `()` or a Result"),
        _ => {}
    }
    let Some(last) = last_segment(ty).filter(|last| last.ident == "Result") else {
        check_owned(ty, OWNED_OUTPUT, problems);
        return Output::Value(ty.clone());
    };
    if role == Role::Remote {
        problems.at(ty, "declare what the kernel returns on success: any task can fail, so Result is understood");
    }
    let types: Vec<&Type> = match &last.arguments {
        PathArguments::AngleBracketed(arguments) => arguments.args.iter().filter_map(as_type).collect(),
        _ => Vec::new(),
    };
    match types.as_slice() {
        [] => {
            problems.at(ty, "write the types of this Result: `Result<T, E>`, or `io::Result<T>` of an alias");
            Output::Unit
        }
        [success, others @ ..] => {
            check_owned(success, OWNED_OUTPUT, problems);
            let error = others.first().copied().unwrap_or(ty);
            if is_text(error) {
                problems.at(error, TEXT_ERROR);
            }
            Output::Result((*success).clone(), error.span())
        }
    }
}

/// `String` or a reference: what people reach for first, and what no conversion can exist for.
fn is_text(error: &Type) -> bool {
    match bare(error) {
        Type::Reference(_) => true,
        ty => last_segment(ty).is_some_and(|last| last.ident == "String"),
    }
}

fn as_type(argument: &GenericArgument) -> Option<&Type> {
    match argument {
        GenericArgument::Type(ty) => Some(ty),
        _ => None,
    }
}

fn last_segment(ty: &Type) -> Option<&PathSegment> {
    match ty {
        Type::Path(path) => path.path.segments.last(),
        _ => None,
    }
}

/// The type without parentheses and the groups that other macros leave.
fn bare(ty: &Type) -> &Type {
    match ty {
        Type::Paren(inner) => bare(&inner.elem),
        Type::Group(inner) => bare(&inner.elem),
        ty => ty,
    }
}

fn check_owned(ty: &Type, otherwise: &str, problems: &mut Problems) {
    if matches!(bare(ty), Type::Reference(_)) {
        return problems.at(ty, otherwise);
    }
    if matches!(bare(ty), Type::ImplTrait(_)) {
        return problems.at(ty, NO_IMPL);
    }
    match borrowed(quote!(#ty)) {
        Some(TokenTree::Ident(keyword)) => problems.at(keyword, NO_IMPL),
        Some(ampersand) => problems.at(ampersand, otherwise),
        None => {}
    }
}

/// The first `&` or `impl` inside a type.
fn borrowed(tokens: TokenStream) -> Option<TokenTree> {
    tokens.into_iter().find_map(|token| match &token {
        TokenTree::Group(group) => borrowed(group.stream()),
        TokenTree::Punct(punct) => (punct.as_char() == '&').then_some(token),
        TokenTree::Ident(ident) => (ident == "impl").then_some(token),
        TokenTree::Literal(_) => None,
    })
}
