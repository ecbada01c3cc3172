//! What the schemas of the document say beyond what the types of Rust are known by: the range of whole numbers,
//! the form of what is not free text.

use utoipa::Number;
use utoipa::openapi::path::{Operation, Parameter};
use utoipa::openapi::schema::{AdditionalProperties, ArrayItems};
use utoipa::openapi::{KnownFormat, OpenApi, RefOr, Schema, SchemaFormat};

/// Parameters whose form is known by their names.
const FORMS: [(&str, &str); 2] = [("Idempotency-Key", "^[!-~]{1,128}$"), ("card", "^[!-~]{1,64}$")];

const U32_MAX: usize = 0xffff_ffff;

/// Completes every schema of a document.
pub(super) fn complete(document: &mut OpenApi) {
    let components = document.components.get_or_insert_default();
    components.schemas.values_mut().for_each(schema);
    for item in document.paths.paths.values_mut() {
        for operation in [&mut item.get, &mut item.post, &mut item.delete].into_iter().flatten() {
            of_operation(operation);
        }
    }
}

fn of_operation(operation: &mut Operation) {
    for given in operation.parameters.iter_mut().flatten() {
        let RefOr::T(parameter) = given else { continue };
        parameter.schema.iter_mut().for_each(schema);
        form(parameter);
    }
    for response in operation.responses.responses.values_mut() {
        let RefOr::T(response) = response else { continue };
        for content in response.content.values_mut() {
            if let RefOr::T(content) = content {
                content.schema.iter_mut().for_each(schema);
            }
        }
    }
}

fn form(parameter: &mut Parameter) {
    let known = FORMS.iter().find(|(name, _)| *name == parameter.name);
    if let (Some((_, pattern)), Some(RefOr::T(Schema::Object(object)))) =
        (known, parameter.schema.as_mut())
    {
        object.pattern = Some((*pattern).to_owned());
    }
}

fn schema(given: &mut RefOr<Schema>) {
    let RefOr::T(given) = given else { return };
    match given {
        Schema::Object(object) => {
            // without a sign: the formats of those with one would end at half
            let wide = match &object.format {
                Some(SchemaFormat::KnownFormat(KnownFormat::Int64)) => Some(("uint64", usize::MAX)),
                Some(SchemaFormat::KnownFormat(KnownFormat::Int32)) => Some(("uint32", U32_MAX)),
                _ => None,
            };
            if let Some((format, most)) = wide.filter(|_| object.minimum.is_some()) {
                object.format = Some(SchemaFormat::Custom(format.to_owned()));
                object.maximum.get_or_insert(Number::UInt(most));
            }
            object.properties.values_mut().for_each(schema);
            if let Some(AdditionalProperties::RefOr(more)) =
                object.additional_properties.as_deref_mut()
            {
                schema(more);
            }
        }
        Schema::Array(array) => {
            if let ArrayItems::RefOrSchema(items) = &mut array.items {
                schema(items);
            }
        }
        Schema::OneOf(several) => several.items.iter_mut().for_each(schema),
        Schema::AllOf(several) => several.items.iter_mut().for_each(schema),
        Schema::AnyOf(several) => several.items.iter_mut().for_each(schema),
        _ => {}
    }
}
