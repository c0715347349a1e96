//! `#[kernel]` on a function.

use proc_macro2::{TokenStream, TokenTree};
use quote::{quote, quote_spanned};
use syn::parse::{Parse, ParseStream};
use syn::{Attribute, FnArg, Ident, Token, Visibility};

use crate::options::Options;
use crate::problems::Problems;
use crate::signature::{Output, Role, Signature};
use crate::{home, unit_struct};

/// A function whose body is taken as it is: whether it is good Rust is for the compiler to say.
struct Function {
    attributes: Vec<Attribute>,
    visibility: Visibility,
    signature: syn::Signature,
    body: TokenTree,
}

impl Parse for Function {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let attributes = input.call(Attribute::parse_outer)?;
        let visibility = input.parse()?;
        let starts = input.peek(Token![fn])
            || input.peek(Token![const]) && !input.peek2(Ident)
            || input.peek(Token![async])
            || input.peek(Token![unsafe])
            || input.peek(Token![extern]);
        if !starts {
            return Err(input.error("#[kernel] goes on a function"));
        }
        let signature = input.parse()?;
        if input.peek(Token![;]) {
            return Err(input.error("a kernel has a body; for one that runs elsewhere use remote_kernel! { … }"));
        }
        Ok(Self { attributes, visibility, signature, body: input.parse()? })
    }
}

pub fn expand(options: TokenStream, item: TokenStream) -> TokenStream {
    let function: Function = match syn::parse2(item.clone()) {
        Ok(function) => function,
        Err(error) => return unit_struct::refuse(error.into_compile_error(), item),
    };
    let mut problems = Problems::default();
    let options = Options::read(options, &mut problems);
    let signature = Signature::read(&function.signature, Role::Body, &mut problems);
    let name = unit_struct::kernel_name(&options, &function.signature.ident, &mut problems);
    let shared = options.home.clone().map_or_else(home::shared, Ok).unwrap_or_else(|error| {
        problems.add(error);
        TokenStream::new()
    });
    match problems.tell() {
        // outside of an impl, the compiler has its own say about `self`
        Some(errors) if function.signature.inputs.iter().any(|input| matches!(input, FnArg::Receiver(_))) => errors,
        Some(errors) => unit_struct::refuse(errors, item),
        None => function.expand(&shared, &name, &options, &signature),
    }
}

impl Function {
    fn expand(&self, shared: &TokenStream, name: &str, options: &Options, signature: &Signature) -> TokenStream {
        let ident = &self.signature.ident;
        let outside = unit_struct::named(&self.attributes, &["doc", "cfg", "deprecated"]);
        let conditions = unit_struct::named(&self.attributes, &["cfg"]);
        let inside =
            self.attributes.iter().filter(|attribute| !unit_struct::is(attribute, &["doc", "cfg", "deprecated"]));
        let unit_struct = unit_struct::expand(&outside, &self.visibility, ident);
        let kernel = unit_struct::expand_kernel(shared, ident, name, signature);
        let run = self.expand_run(shared, options, signature);
        let deref = self.expand_deref();
        let (function, body) = (self.without_docs(), &self.body);
        // In the block, the name means the function: it can call itself, and have variables of its name.
        quote! {
            #unit_struct
            #(#conditions)*
            #[allow(deprecated)]
            const _: () = {
                #(#inside)*
                #function #body
                #kernel
                #run
                #deref
            };
        }
    }

    /// The function as Rust takes it: its parameters have no doc comments.
    fn without_docs(&self) -> syn::Signature {
        let mut signature = self.signature.clone();
        for input in &mut signature.inputs {
            if let FnArg::Typed(parameter) = input {
                parameter.attrs.retain(|attribute| !unit_struct::is(attribute, &["doc"]));
            }
        }
        signature
    }

    fn expand_run(&self, shared: &TokenStream, options: &Options, signature: &Signature) -> TokenStream {
        let ident = &self.signature.ident;
        let doc = unit_struct::doc(&self.attributes);
        let options = options.expand(shared);
        let parameters =
            signature.named.iter().map(|(name, doc)| quote!(#shared::kernel::Parameter { name: #name, doc: #doc }));
        // these names collide with no other kernel, which no variable could shadow
        let context = if signature.context { quote!(__context) } else { quote!(_) };
        let args = if signature.parameters.is_empty() { quote!(_) } else { quote!(__args) };
        let call = call(ident, signature);
        let result = match &signature.output {
            Output::Unit => quote!(#call; ::core::result::Result::Ok(())),
            Output::Value(_) => quote!(::core::result::Result::Ok(#call)),
            Output::Result(_, error) => {
                // the span makes an error that does not convert show in the signature
                let convert = quote_spanned!(*error=> ::core::convert::Into::into(__error));
                quote! {
                    match #call {
                        ::core::result::Result::Ok(__value) => ::core::result::Result::Ok(__value),
                        ::core::result::Result::Err(__error) => ::core::result::Result::Err(#convert),
                    }
                }
            }
        };
        quote! {
            #[allow(clippy::useless_conversion)]
            impl #shared::kernel::Run for #ident {
                const DOC: &'static str = #doc;
                const OPTIONS: #shared::kernel::KernelOptions = #options;
                const PARAMETERS: &'static [#shared::kernel::Parameter] = &[#(#parameters),*];

                fn run(
                    #context: &#shared::context::TaskContext,
                    #args: <Self as #shared::kernel::Kernel>::Args,
                ) -> ::core::result::Result<
                    <Self as #shared::kernel::Kernel>::Output,
                    #shared::kernel::KernelError,
                > {
                    #result
                }
            }
        }
    }

    /// What makes `sum_sqrt(5)` compile although `sum_sqrt` is a struct.
    fn expand_deref(&self) -> TokenStream {
        let ident = &self.signature.ident;
        let types = self.signature.inputs.iter().map(|input| match input {
            FnArg::Typed(parameter) => &parameter.ty,
            FnArg::Receiver(receiver) => &receiver.ty,
        });
        let output = &self.signature.output;
        let pointer = quote!(fn(#(#types),*) #output);
        quote! {
            impl ::core::ops::Deref for #ident {
                type Target = #pointer;

                fn deref(&self) -> &Self::Target {
                    const FUNCTION: #pointer = #ident;
                    &FUNCTION
                }
            }
        }
    }
}

fn call(ident: &Ident, signature: &Signature) -> TokenStream {
    let context = signature.context.then(|| quote!(__context,));
    match signature.parameters.len() {
        0 => quote!(#ident(#context)),
        1 => quote!(#ident(#context __args)),
        several => {
            let positions = (0..several).map(syn::Index::from);
            quote!(#ident(#context #(__args.#positions),*))
        }
    }
}
