//! How many values there are in values, and how deep.

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::resource::v1::Resource;

/// What decoded values come to; `wire` counts the same before they are decoded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Extent {
    /// Attributes and elements of arrays.
    pub values: usize,
    /// The most values that lie in each other.
    pub depth: usize,
}

impl Extent {
    pub(crate) fn of_record(record: &LogRecord) -> Self {
        Self::of_attributes(&record.attributes).and(record.body.as_ref().map(Self::of_value).unwrap_or_default())
    }

    pub(crate) fn of_resource(resource: &Resource) -> Self {
        let names = resource.entity_refs.iter().map(|entity| 1 + entity.id_keys.len() + entity.description_keys.len());
        Self::of_attributes(&resource.attributes).and(Self { values: names.sum(), depth: 0 })
    }

    pub(crate) fn of_attributes(attributes: &[KeyValue]) -> Self {
        Self::of_all(attributes.iter().map(|attribute| attribute.value.as_ref()))
    }

    fn of_value(value: &AnyValue) -> Self {
        let inner = match &value.value {
            Some(Value::ArrayValue(array)) => Self::of_all(array.values.iter().map(Some)),
            Some(Value::KvlistValue(list)) => Self::of_attributes(&list.values),
            _ => Self::default(),
        };
        Self { depth: inner.depth + 1, ..inner }
    }

    fn of_all<'a>(values: impl Iterator<Item = Option<&'a AnyValue>>) -> Self {
        values.fold(Self::default(), |all, value| {
            let inner = value.map(Self::of_value).unwrap_or_default();
            all.and(Self { values: inner.values + 1, ..inner })
        })
    }

    fn and(self, other: Self) -> Self {
        Self { values: self.values + other.values, depth: self.depth.max(other.depth) }
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::common::v1::any_value::Value;
    use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, EntityRef, KeyValue, KeyValueList};
    use opentelemetry_proto::tonic::logs::v1::LogRecord;
    use opentelemetry_proto::tonic::resource::v1::Resource;

    use super::Extent;

    #[test]
    fn every_value_counts_once() {
        let value = |value: Value| AnyValue { value: Some(value) };
        let array = value(Value::ArrayValue(ArrayValue { values: vec![AnyValue::default(); 3] }));
        let named = KeyValue { value: Some(array), ..Default::default() };
        let list = value(Value::KvlistValue(KeyValueList { values: vec![named.clone(), KeyValue::default()] }));
        let record = LogRecord { body: Some(list), attributes: vec![named; 2], ..Default::default() };
        assert_eq!(Extent::of_record(&record), Extent { values: 5 + 8, depth: 3 });
        assert_eq!(Extent::of_record(&LogRecord::default()), Extent::default());
        let entity = EntityRef { id_keys: vec![String::new(); 2], ..Default::default() };
        let resource = Resource { attributes: record.attributes, entity_refs: vec![entity; 2], ..Default::default() };
        assert_eq!(Extent::of_resource(&resource), Extent { values: 8 + 6, depth: 2 });
    }
}
