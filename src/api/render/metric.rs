use std::borrow::Cow;

use serde::{Serialize, Serializer};

use super::{Base, Document, Xml};
use crate::model::{Metric, Series};

/// Measurements (contract 2.7). In XML a series gives its element the name.
#[derive(Debug, Serialize)]
pub(in crate::api) struct MetricView<'a> {
    id: &'a str,
    href: String,
    entity: &'a str,
    properties: Vec<SeriesView<'a>>,
}

#[derive(Debug, Serialize)]
struct SeriesView<'a> {
    name: &'a str,
    values: Vec<SampleView<'a>>,
}

#[derive(Debug)]
struct SampleView<'a>(&'a [(String, String)]);

impl Serialize for SampleView<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

impl<'a> MetricView<'a> {
    pub(in crate::api) fn new(metric: &'a Metric, base: Base) -> Self {
        let Metric { id, entity, series } = metric;
        let properties = series.iter().map(|Series { name, samples }| SeriesView {
            name,
            values: samples.iter().map(|sample| SampleView(sample)).collect(),
        });
        Self { id, href: base.member("metrics", id), entity, properties: properties.collect() }
    }
}

impl Document for MetricView<'_> {
    fn xml(&self, xml: &mut Xml) {
        xml.element("metric", &[("href", &self.href), ("id", self.id)], |xml| {
            xml.text("entity", &[], self.entity);
            xml.element("properties", &[], |xml| {
                for SeriesView { name, values } in &self.properties {
                    xml.element(&element_name(name), &[], |xml| values.iter().for_each(|sample| sample.xml(xml)));
                }
            });
        });
    }
}

impl SampleView<'_> {
    fn xml(&self, xml: &mut Xml) {
        xml.element("sample", &[], |xml| {
            self.0.iter().for_each(|(name, value)| xml.empty("property", &[("name", name), ("value", value)]));
        });
    }
}

/// The name itself if an element can be called so: what a provider calls a measurement is not ours to choose. Whatever
/// could end the name, begin a namespace or is kept for XML itself becomes `_`; JSON has it as it is.
fn element_name(name: &str) -> Cow<'_, str> {
    let begins = name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_');
    let reserved = name.get(..3).is_some_and(|start| start.eq_ignore_ascii_case("xml"));
    let plain = |character: char| character.is_ascii_alphanumeric() || "_-.".contains(character);
    if begins && !reserved && name.chars().all(plain) {
        return Cow::Borrowed(name);
    }
    let cleaned: String = name.chars().map(|character| if plain(character) { character } else { '_' }).collect();
    Cow::Owned(if begins && !reserved { cleaned } else { format!("_{cleaned}") })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use quick_xml::Reader;
    use quick_xml::events::Event;

    use super::super::{Member, both};
    use super::*;

    fn metric(name: &str) -> Metric {
        let sample = [("minimum", "0.2"), ("average", "0.35"), ("unit", "Percent")];
        let sample = sample.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        let measured = Series { name: name.to_owned(), samples: vec![sample] };
        let unmeasured = Series { name: "nicInputByte".to_owned(), samples: Vec::new() };
        Metric { id: "inst1".to_owned(), entity: "Mock & User".to_owned(), series: vec![measured, unmeasured] }
    }

    #[test]
    fn a_metric_both_ways() {
        let metric = metric("cpu utilization/<1>");
        insta::assert_snapshot!(both(&Member("metric", MetricView::new(&metric, Base("http://h/api")))), @r#"
        <?xml version='1.0' encoding='utf-8' ?>
        <metric href='http://h/api/metrics/inst1' id='inst1'>
          <entity>Mock &amp; User</entity>
          <properties>
            <cpu_utilization__1_>
              <sample>
                <property name='minimum' value='0.2' />
                <property name='average' value='0.35' />
                <property name='unit' value='Percent' />
              </sample>
            </cpu_utilization__1_>
            <nicInputByte></nicInputByte>
          </properties>
        </metric>
        {
          "metric": {
            "entity": "Mock & User",
            "href": "http://h/api/metrics/inst1",
            "id": "inst1",
            "properties": [
              {
                "name": "cpu utilization/<1>",
                "values": [
                  {
                    "average": "0.35",
                    "minimum": "0.2",
                    "unit": "Percent"
                  }
                ]
              },
              {
                "name": "nicInputByte",
                "values": []
              }
            ]
          }
        }
        "#);
    }

    #[test]
    fn only_what_an_element_can_be_called_is_left() {
        let check = |name: &str, element: &str| assert_eq!(element_name(name), element);
        check("cpuUtilization", "cpuUtilization");
        check("_a-b.c9", "_a-b.c9");
        check("9lives", "_9lives");
        check("-a", "_-a");
        check("AWS/EC2:cpu", "AWS_EC2_cpu");
        check("a><b", "a__b");
        check("\u{e4}rger", "__rger");
        check("XmlThing", "_XmlThing");
        check("", "_");
    }

    proptest! {
        #[test]
        fn any_name_makes_well_formed_xml(name in "\\PC*|[<>&'\"/ =:a-]*") {
            let written = both(&MetricView::new(&metric(&name), Base("http://h/api")));
            let (xml, _) = written.split_once("</metric>").unwrap();
            let written = format!("{xml}</metric>");
            let mut reader = Reader::from_str(&written);
            while !matches!(reader.read_event().unwrap(), Event::Eof) {}
        }
    }
}
