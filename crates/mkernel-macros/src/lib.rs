#![doc = include_str!("../README.md")]

use proc_macro::TokenStream;
use quote::quote;
use solo5_abi::manifest::{MAX_ENTRIES, is_name};
use syn::parse::Parser;
use syn::punctuated::Punctuated;
use syn::{Error, ItemFn, LitStr, MetaNameValue, Token, parse_macro_input};

/// Makes an async function the start of an image.
///
/// ```text
/// #[mkernel::main(net = "service")]
/// async fn main() { … }
/// ```
///
/// Each `net = "NAME"` puts a network device into the image's manifest; NAME is 1 to 67 of
/// `A-Z a-z 0-9`, and a tender must attach something to it. The function takes no arguments and
/// returns what implements `mkernel::Termination`: nothing, an `ExitStatus`, or a `Result` of one
/// with an error that can be shown. Entropy is seeded before it runs; when it returns, the image
/// ends.
#[proc_macro_attribute]
pub fn main(attribute: TokenStream, item: TokenStream) -> TokenStream {
    let main = parse_macro_input!(item as ItemFn);
    expand(attribute, &main).unwrap_or_else(Error::into_compile_error).into()
}

fn expand(attribute: TokenStream, main: &ItemFn) -> Result<proc_macro2::TokenStream, Error> {
    let signature = &main.sig;
    if signature.asyncness.is_none() || !signature.inputs.is_empty() || signature.ident != "main" {
        return Err(Error::new_spanned(
            signature,
            "#[mkernel::main] goes on `async fn main()`, which takes no arguments",
        ));
    }
    let names = devices(attribute)?;
    Ok(quote! {
        ::mkernel::__entry!([#(#names),*], {
            #main
            main
        });
    })
}

/// The names in `net = "a", net = "b"`.
fn devices(attribute: TokenStream) -> Result<Vec<LitStr>, Error> {
    let options = Punctuated::<MetaNameValue, Token![,]>::parse_terminated.parse(attribute)?;
    let mut names: Vec<LitStr> = Vec::new();
    for option in options {
        if !option.path.is_ident("net") {
            return Err(Error::new_spanned(option.path, "the only option is `net = \"NAME\"`"));
        }
        let value = option.value;
        let name: LitStr = syn::parse2(quote!(#value))?;
        if !is_name(&name.value()) {
            return Err(Error::new_spanned(name, "a device name is 1 to 67 of A-Z a-z 0-9"));
        }
        if names.iter().any(|other| other.value() == name.value()) {
            return Err(Error::new_spanned(name, "two devices of one name"));
        }
        names.push(name);
    }
    if names.len() >= MAX_ENTRIES {
        return Err(Error::new_spanned(
            &names[MAX_ENTRIES - 1],
            "a manifest has at most 63 devices",
        ));
    }
    Ok(names)
}
