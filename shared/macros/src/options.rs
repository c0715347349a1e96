//! The options in the parentheses of `#[kernel(…)]`.

use proc_macro2::{Ident, TokenStream};
use quote::{ToTokens, quote};
use syn::ext::IdentExt;
use syn::parse::{Parse, ParseStream, Parser};
use syn::punctuated::Punctuated;
use syn::{Expr, ExprLit, Lit, LitStr, Token, parse_quote};

use crate::problems::Problems;
use crate::{duration, name, size};

/// What a message can count.
const RETRIES_MAX: u16 = u16::MAX - 1;

const KNOWN: &str = "name, soft_time_limit, time_limit, memory, retries, backoff, backoff_max, ignore_result and crate";

/// The option that may stand alone.
const FLAG: &str = "ignore_result";

#[derive(Default)]
pub struct Options {
    pub name: Option<String>,
    /// Where `gristmill_shared` is.
    pub home: Option<TokenStream>,
    retries: Option<u16>,
    backoff_ms: Option<u64>,
    backoff_max_ms: Option<u64>,
    soft_time_limit_ms: Option<u64>,
    time_limit_ms: Option<u64>,
    memory: Option<u64>,
    ignore_result: Option<bool>,
}

/// `key = value`, or a `key` alone that stands for `key = true`.
struct Given {
    key: Ident,
    value: Expr,
}

impl Parse for Given {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let key: Ident = input.call(Ident::parse_any)?;
        if key == FLAG && !input.peek(Token![=]) {
            return Ok(Self { key, value: parse_quote!(true) });
        }
        if !input.peek(Token![=]) {
            return Err(syn::Error::new(key.span(), format!("write `{key} = …`; the options are {KNOWN}")));
        }
        input.parse::<Token![=]>()?;
        Ok(Self { key, value: input.parse()? })
    }
}

impl Options {
    /// Reads the options and notes what is wrong with them.
    pub fn read(tokens: TokenStream, problems: &mut Problems) -> Self {
        let mut options = Self::default();
        match Punctuated::<Given, Token![,]>::parse_terminated.parse2(tokens) {
            Ok(given) => options.take(given, problems),
            Err(error) => problems.add(error),
        }
        options
    }

    fn take(&mut self, given: Punctuated<Given, Token![,]>, problems: &mut Problems) {
        let mut seen = Vec::new();
        for Given { key, value } in given {
            let option = key.to_string();
            if seen.contains(&option) {
                problems.at(&key, format!("the option {option} is given twice"));
            } else if let Err(error) = self.set(&option, &key, &value) {
                problems.add(error);
            }
            if let (Some(first), Some(longest)) = (self.backoff_ms, self.backoff_max_ms)
                && first > longest
                && option.starts_with("backoff")
            {
                problems.at(&value, "backoff, the first wait, is longer than backoff_max, the longest");
            }
            if let (Some(soft), Some(hard)) = (self.soft_time_limit_ms, self.time_limit_ms)
                && soft >= hard
                && option.ends_with("time_limit")
            {
                problems.at(&value, "soft_time_limit must be shorter than time_limit, which ends the process");
            }
            seen.push(option);
        }
    }

    fn set(&mut self, option: &str, key: &Ident, value: &Expr) -> syn::Result<()> {
        match option {
            "name" => self.name = Some(kernel_name(value)?),
            "crate" => self.home = Some(path(value)?),
            "retries" => self.retries = Some(retries(value)?),
            "backoff" => self.backoff_ms = Some(time(value)?),
            "backoff_max" => self.backoff_max_ms = Some(time(value)?),
            "soft_time_limit" => self.soft_time_limit_ms = Some(positive(value, time(value)?)?),
            FLAG => self.ignore_result = Some(flag(value)?),
            "memory" => self.memory = Some(memory(value)?),
            "time_limit" => self.time_limit_ms = Some(positive(value, time(value)?)?),
            _ => {
                let message = format!("unknown option `{option}`; the options are {KNOWN}");
                return Err(syn::Error::new(key.span(), message));
            }
        }
        Ok(())
    }

    /// The value of `Run::OPTIONS`.
    pub fn expand(&self, shared: &TokenStream) -> TokenStream {
        let none = quote!(::core::option::Option::None);
        let some = |value: TokenStream| quote!(::core::option::Option::Some(#value));
        let time =
            |ms: Option<u64>| ms.map_or(none.clone(), |ms| some(quote!(::core::time::Duration::from_millis(#ms))));
        let retries = self.retries.map_or(none.clone(), |retries| some(quote!(#retries)));
        let (backoff, backoff_max) = (time(self.backoff_ms), time(self.backoff_max_ms));
        let (soft_time_limit, time_limit) = (time(self.soft_time_limit_ms), time(self.time_limit_ms));
        let memory = self.memory.map_or(none.clone(), |bytes| some(quote!(#bytes)));
        let ignore_result = self.ignore_result.map_or(none, |wanted| some(quote!(#wanted)));
        quote! {
            #shared::kernel::KernelOptions {
                retries: #retries,
                backoff: #backoff,
                backoff_max: #backoff_max,
                soft_time_limit: #soft_time_limit,
                time_limit: #time_limit,
                memory: #memory,
                ignore_result: #ignore_result,
            }
        }
    }
}

/// The name in a literal; also what `remote_kernel!` reads.
pub fn checked_name(literal: &LitStr) -> syn::Result<String> {
    let text = literal.value();
    name::check(&text).map_err(|message| syn::Error::new(literal.span(), message))?;
    Ok(text)
}

fn kernel_name(value: &Expr) -> syn::Result<String> {
    checked_name(text(value, "name takes a text, as in name = \"image.thumbnail\"")?)
}

fn time(value: &Expr) -> syn::Result<u64> {
    let literal = text(value, "a time is a text, as in \"30s\"; its units are ms, s, m and h")?;
    duration::milliseconds(&literal.value()).map_err(|message| syn::Error::new(literal.span(), message))
}

fn memory(value: &Expr) -> syn::Result<u64> {
    let literal = text(value, "an amount of memory is a text, as in \"512MiB\"; its units are KiB, MiB and GiB")?;
    size::bytes(&literal.value()).map_err(|message| syn::Error::new(literal.span(), message))
}

fn positive(value: &Expr, ms: u64) -> syn::Result<u64> {
    match ms {
        0 => Err(syn::Error::new_spanned(value, "a time limit of zero ends every task: leave it out for no limit")),
        ms => Ok(ms),
    }
}

fn retries(value: &Expr) -> syn::Result<u16> {
    let number = match value {
        Expr::Lit(ExprLit { lit: Lit::Int(number), .. }) => number.base10_parse().ok(),
        _ => None,
    };
    let number = number.filter(|&number| number <= RETRIES_MAX);
    number
        .ok_or_else(|| syn::Error::new_spanned(value, format!("retries takes a whole number from 0 to {RETRIES_MAX}")))
}

fn flag(value: &Expr) -> syn::Result<bool> {
    match value {
        Expr::Lit(ExprLit { lit: Lit::Bool(flag), .. }) => Ok(flag.value),
        _ => Err(syn::Error::new_spanned(value, "ignore_result takes true or false, or stands alone")),
    }
}

fn path(value: &Expr) -> syn::Result<TokenStream> {
    match value {
        Expr::Path(path) => Ok(path.to_token_stream()),
        Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => Ok(text.parse::<syn::Path>()?.to_token_stream()),
        _ => Err(syn::Error::new_spanned(value, "crate takes a path, as in crate = ::my_crate::gristmill_shared")),
    }
}

fn text<'a>(value: &'a Expr, otherwise: &str) -> syn::Result<&'a LitStr> {
    match value {
        Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => Ok(text),
        _ => Err(syn::Error::new_spanned(value, otherwise)),
    }
}
