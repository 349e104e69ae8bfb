//! `#[derive(Setting)]`: from a struct or an enum, the schema of a setting and what reads it.
//!
//! What the generated code calls is in `larder_policy::settings`; what may be written is said at [`derive_setting`].

use proc_macro2::{Delimiter, Span, TokenStream, TokenTree};
use quote::quote;
use syn::{
    Attribute, Data, DeriveInput, Error, Expr, Fields, Lit, LitInt, LitStr, Meta, Result,
    meta::ParseNestedMeta, parse::ParseStream, parse_macro_input, spanned::Spanned,
};

/// Makes a type one that stands in settings, with its schema.
///
/// - A struct is an object with a member for each field, of the field's name, and no others. A field that is an `Option` may be
///   left out, and so may one with a default. The comments of fields (`///`) are the descriptions in the schema.
/// - An enum whose variants have no fields is one of several words: the names of the variants, as in `do-not-store`.
///
/// Fields may have `#[setting(...)]` with
/// - `default = VALUE`: what it is where it is left out, as JSON: `default = "x-tenant"`, `default = ["a", "b"]`, `default = {}`;
/// - `minimum = NUMBER`, `maximum = NUMBER`: the range of a number, or of the numbers in a list or an `Option`;
/// - `name = "type"`: what it is called in settings.
#[proc_macro_derive(Setting, attributes(setting))]
pub fn derive_setting(input: proc_macro::TokenStream) -> proc_macro::TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    expand(&input).unwrap_or_else(Error::into_compile_error).into()
}

fn expand(input: &DeriveInput) -> Result<TokenStream> {
    if !input.generics.params.is_empty() {
        return Err(Error::new(input.generics.span(), "settings have no parameters"));
    }
    let (schema, read) = match &input.data {
        Data::Struct(data) => struct_bodies(&data.fields, &input.ident)?,
        Data::Enum(data) => {
            let mut words = Vec::new();
            let mut variants = Vec::new();
            for variant in &data.variants {
                if !matches!(variant.fields, Fields::Unit) {
                    return Err(Error::new(
                        variant.span(),
                        "a setting is one of several words: a variant has no fields",
                    ));
                }
                words.push(kebab_case(&variant.ident.to_string()));
                variants.push(&variant.ident);
            }
            if words.is_empty() {
                return Err(Error::new(input.span(), "no variant, so that nothing would fit"));
            }
            let numbers = 0..words.len();
            (
                quote! { ::larder_policy::settings::enum_schema(out, &[#(#words),*]); },
                quote! {
                    match ::larder_policy::settings::one_of(value, &[#(#words),*])? {
                        #(#numbers => Ok(Self::#variants),)*
                        _ => Err(::larder_policy::settings::Fault::new("not one of the words")),
                    }
                },
            )
        }
        Data::Union(_) => return Err(Error::new(input.span(), "a struct or an enum is wanted")),
    };
    let name = &input.ident;
    Ok(quote! {
        impl ::larder_policy::settings::Setting for #name {
            fn schema(out: &mut ::std::string::String, _: ::larder_policy::settings::Range) {
                #schema
            }

            fn read(
                value: &::larder_policy::Json,
                _: ::larder_policy::settings::Range,
            ) -> ::std::result::Result<Self, ::larder_policy::settings::Fault> {
                #read
            }
        }
    })
}

/// Those of `schema` and of `read`.
fn struct_bodies(fields: &Fields, struct_name: &syn::Ident) -> Result<(TokenStream, TokenStream)> {
    let named = match fields {
        Fields::Named(named) => Some(&named.named),
        Fields::Unit => None,
        Fields::Unnamed(_) => return Err(Error::new(struct_name.span(), "its fields need names")),
    };
    let (mut members, mut names, mut reads, mut checks) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for field in named.into_iter().flatten() {
        let Some(ident) = &field.ident else { continue };
        let ty = &field.ty;
        let Said { name, default, minimum, maximum } = Said::of(&field.attrs)?;
        let name = name.unwrap_or_else(|| ident.to_string().trim_start_matches("r#").to_owned());
        let description = description(&field.attrs);
        let description = if description.is_empty() { description } else { quoted(&description) };
        if minimum.is_some() || maximum.is_some() {
            let why = format!("`{name}` has a range, and is no number");
            checks.push(quote! {
                const _: () = assert!(<#ty as ::larder_policy::settings::Setting>::HAS_RANGE, #why);
            });
        }
        let (default, minimum, maximum) = (option(default), option(minimum), option(maximum));
        let range = quote! { ::larder_policy::settings::Range { minimum: #minimum, maximum: #maximum } };
        members.push(quote! {
            ::larder_policy::settings::Member {
                name: #name,
                description: #description,
                default: #default,
                range: #range,
                is_optional: <#ty as ::larder_policy::settings::Setting>::IS_OPTIONAL,
                schema: <#ty as ::larder_policy::settings::Setting>::schema,
            }
        });
        reads.push(quote! {
            #ident: ::larder_policy::settings::member(object, #name, #default, #range)?
        });
        names.push(name);
    }
    let schema = quote! {
        #(#checks)*
        ::larder_policy::settings::struct_schema(out, &[#(#members),*]);
    };
    let object = if reads.is_empty() { quote!(_) } else { quote!(object) };
    let read = quote! {
        let #object = ::larder_policy::settings::members(value, &[#(#names),*])?;
        Ok(Self { #(#reads),* })
    };
    Ok((schema, read))
}

fn option(value: Option<impl quote::ToTokens>) -> TokenStream {
    match value {
        Some(value) => quote!(::std::option::Option::Some(#value)),
        None => quote!(::std::option::Option::None),
    }
}

/// `#[setting(...)]`
#[derive(Default)]
struct Said {
    name: Option<String>,
    /// As JSON.
    default: Option<String>,
    minimum: Option<i64>,
    maximum: Option<i64>,
}

impl Said {
    fn of(attributes: &[Attribute]) -> Result<Said> {
        let mut said = Said::default();
        for attribute in attributes.iter().filter(|attribute| attribute.path().is_ident("setting")) {
            attribute.parse_nested_meta(|meta| said.add(&meta))?;
        }
        Ok(said)
    }

    fn add(&mut self, meta: &ParseNestedMeta<'_>) -> Result<()> {
        let word = meta.path.get_ident().map(ToString::to_string).unwrap_or_default();
        match word.as_str() {
            "name" => self.name = Some(meta.value()?.parse::<LitStr>()?.value()),
            "default" => {
                let span = meta.input.span();
                self.default = Some(json(value_tokens(meta.value()?)?, span)?);
            }
            "minimum" => self.minimum = Some(number(meta.value()?)?),
            "maximum" => self.maximum = Some(number(meta.value()?)?),
            _ => return Err(meta.error("unknown; there are: default, minimum, maximum, name")),
        }
        Ok(())
    }
}

fn number(input: ParseStream<'_>) -> Result<i64> {
    let minus = input.parse::<Option<syn::Token![-]>>()?;
    let written = input.parse::<LitInt>()?;
    let sign = if minus.is_some() { "-" } else { "" };
    format!("{sign}{}", written.base10_digits())
        .parse()
        .map_err(|_| Error::new(written.span(), "more than 64 bits"))
}

/// Up to the next comma.
fn value_tokens(input: ParseStream<'_>) -> Result<Vec<TokenTree>> {
    let mut tokens = Vec::new();
    while !input.is_empty() && !input.peek(syn::Token![,]) {
        tokens.push(input.parse()?);
    }
    Ok(tokens)
}

/// JSON, as it can be written among Rust's tokens.
fn json(tokens: Vec<TokenTree>, span: Span) -> Result<String> {
    let wanted = |span| Error::new(span, "a value as in JSON is wanted");
    let mut tokens = tokens.into_iter();
    let (first, second, rest) = (tokens.next(), tokens.next(), tokens.next());
    let (sign, first, second) = match first {
        Some(TokenTree::Punct(minus)) if minus.as_char() == '-' => ("-", second, rest),
        first => ("", first, second),
    };
    let Some(first) = first else { return Err(wanted(span)) };
    if let Some(odd) = second {
        return Err(wanted(odd.span()));
    }
    Ok(match first {
        TokenTree::Literal(literal) => {
            let literal = Lit::new(literal);
            if let Lit::Int(number) = &literal {
                format!("{sign}{}", number.base10_digits())
            } else if let Lit::Float(number) = &literal {
                format!("{sign}{}", number.base10_digits())
            } else if let (Lit::Str(text), "") = (&literal, sign) {
                quoted(&text.value())
            } else {
                return Err(wanted(literal.span()));
            }
        }
        TokenTree::Ident(word) if sign.is_empty() && (word == "true" || word == "false") => word.to_string(),
        TokenTree::Group(group) if sign.is_empty() => {
            let mut elements = Vec::new();
            for element in split(group.stream(), ',') {
                elements.push(match group.delimiter() {
                    Delimiter::Bracket => json(element, group.span())?,
                    Delimiter::Brace => {
                        let parts = split(element.into_iter().collect(), ':');
                        let [name, value] =
                            <[Vec<TokenTree>; 2]>::try_from(parts).map_err(|_| wanted(group.span()))?;
                        format!("{}:{}", json(name, group.span())?, json(value, group.span())?)
                    }
                    Delimiter::Parenthesis | Delimiter::None => return Err(wanted(group.span())),
                });
            }
            let elements = elements.join(",");
            match group.delimiter() {
                Delimiter::Bracket => format!("[{elements}]"),
                Delimiter::Brace => format!("{{{elements}}}"),
                Delimiter::Parenthesis | Delimiter::None => return Err(wanted(group.span())),
            }
        }
        odd @ (TokenTree::Ident(_) | TokenTree::Group(_) | TokenTree::Punct(_)) => {
            return Err(wanted(odd.span()));
        }
    })
}

fn split(tokens: TokenStream, at: char) -> Vec<Vec<TokenTree>> {
    let mut parts = vec![Vec::new()];
    for token in tokens {
        let is_mark = matches!(&token, TokenTree::Punct(mark) if mark.as_char() == at);
        if is_mark {
            parts.push(Vec::new());
        } else if let Some(part) = parts.last_mut() {
            part.push(token);
        }
    }
    // Behind the last comma, or in empty brackets.
    parts.pop_if(|part| part.is_empty());
    parts
}

/// The lines of `///` as one.
fn description(attributes: &[Attribute]) -> String {
    let lines =
        attributes.iter().filter(|attribute| attribute.path().is_ident("doc")).filter_map(|attribute| {
            let Meta::NameValue(said) = &attribute.meta else { return None };
            let Expr::Lit(literal) = &said.value else { return None };
            if let Lit::Str(line) = &literal.lit { Some(line.value().trim().to_owned()) } else { None }
        });
    lines.collect::<Vec<_>>().join(" ").trim().to_owned()
}

/// A text as it stands in JSON.
fn quoted(text: &str) -> String {
    let mut quoted = "\"".to_owned();
    for character in text.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            '\0'..='\x1f' => quoted.push_str(&format!("\\u{:04x}", u32::from(character))),
            _ => quoted.push(character),
        }
    }
    quoted.push('"');
    quoted
}

/// `DoNotStore` is `do-not-store`.
fn kebab_case(name: &str) -> String {
    let mut words = String::new();
    for character in name.chars() {
        if character.is_uppercase() && !words.is_empty() {
            words.push('-');
        }
        words.extend(character.to_lowercase());
    }
    words
}
