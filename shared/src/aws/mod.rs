//! The AWS SDKs' configuration: what Lambda gives every function, and nothing that would have to be searched for.
//!
//! Files, profiles, the instance's metadata and the machine's trust store cost a cold start more than all the rest
//! (docs/adr/0016-lean-start.md), and a Lambda function needs none of them.

use std::time::Duration;

use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use aws_types::region::Region;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use crate::config::Env;
use crate::secret::Secret;

/// The roots of every AWS endpoint: Amazon Trust Services' own (amazontrust.com/repository).
const ROOTS: &[u8] = include_bytes!("roots.pem");

/// A connection that does not come about in this time will not.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// One attempt; the SDK makes up to three.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(2);
/// All attempts: less than any function's timeout, so that a queue or table that cannot be reached is reported.
const OPERATION_TIMEOUT: Duration = Duration::from_secs(4);

/// What clients of DynamoDB, SQS and S3 are made of.
pub struct Aws {
    region: String,
    access_key_id: String,
    secret_access_key: Secret,
    session_token: Option<Secret>,
    dynamodb_endpoint: Option<String>,
    sqs_endpoint: Option<String>,
    s3_endpoint: Option<String>,
    more_roots: Option<Vec<u8>>,
}

impl Aws {
    /// Reads `AWS_REGION`, `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and `AWS_SESSION_TOKEN`, which Lambda sets;
    /// `AWS_ENDPOINT_URL_DYNAMODB`, `AWS_ENDPOINT_URL_SQS`, `AWS_ENDPOINT_URL_S3` and `AWS_ENDPOINT_URL`, which are how
    /// the same binary runs on a laptop; and `SSL_CERT_FILE`, a PEM file of roots to trust besides Amazon's own.
    pub fn read(env: &mut Env<'_>) -> Self {
        let common = env.optional_url("AWS_ENDPOINT_URL");
        let mut endpoint = |key| env.optional_url(key).or_else(|| common.clone());
        let dynamodb_endpoint = endpoint("AWS_ENDPOINT_URL_DYNAMODB");
        let sqs_endpoint = endpoint("AWS_ENDPOINT_URL_SQS");
        let s3_endpoint = endpoint("AWS_ENDPOINT_URL_S3");
        Self {
            region: env.text("AWS_REGION"),
            access_key_id: env.text("AWS_ACCESS_KEY_ID"),
            secret_access_key: env.secret("AWS_SECRET_ACCESS_KEY"),
            session_token: env.optional("AWS_SESSION_TOKEN").map(Secret::new),
            dynamodb_endpoint,
            sqs_endpoint,
            s3_endpoint,
            more_roots: env.file("SSL_CERT_FILE", |pem| {
                let certificates = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>();
                certificates.is_ok_and(|found| !found.is_empty())
            }),
        }
    }

    /// A client of DynamoDB.
    pub fn dynamodb(&self) -> aws_sdk_dynamodb::Client {
        let mut config = aws_sdk_dynamodb::Config::builder()
            .behavior_version(aws_sdk_dynamodb::config::BehaviorVersion::v2026_01_12())
            .region(Region::new(self.region.clone()))
            .credentials_provider(self.credentials())
            .http_client(self.http_client())
            .timeout_config(timeouts());
        config.set_endpoint_url(self.dynamodb_endpoint.clone());
        aws_sdk_dynamodb::Client::from_conf(config.build())
    }

    /// A client of SQS.
    pub fn sqs(&self) -> aws_sdk_sqs::Client {
        let mut config = aws_sdk_sqs::Config::builder()
            .behavior_version(aws_sdk_sqs::config::BehaviorVersion::v2026_01_12())
            .region(Region::new(self.region.clone()))
            .credentials_provider(self.credentials())
            .http_client(self.http_client())
            .timeout_config(timeouts());
        config.set_endpoint_url(self.sqs_endpoint.clone());
        aws_sdk_sqs::Client::from_conf(config.build())
    }

    /// A client of S3.
    pub fn s3(&self) -> aws_sdk_s3::Client {
        let mut config = aws_sdk_s3::Config::builder()
            .behavior_version(aws_sdk_s3::config::BehaviorVersion::v2026_01_12())
            .region(Region::new(self.region.clone()))
            .credentials_provider(self.credentials())
            .http_client(self.http_client())
            .timeout_config(timeouts())
            // An endpoint of one's own has no name for each bucket.
            .force_path_style(self.s3_endpoint.is_some());
        config.set_endpoint_url(self.s3_endpoint.clone());
        aws_sdk_s3::Client::from_conf(config.build())
    }

    /// Lambda's credentials last as long as the execution environment does.
    fn credentials(&self) -> SharedCredentialsProvider {
        let token = self.session_token.as_ref().map(|token| token.expose().to_owned());
        let secret = self.secret_access_key.expose();
        SharedCredentialsProvider::new(Credentials::new(&self.access_key_id, secret, token, None, "environment"))
    }

    #[expect(clippy::expect_used, reason = "a function that cannot say whom to trust must not start")]
    fn http_client(&self) -> SharedHttpClient {
        let mut roots = TrustStore::empty().with_pem_certificate(ROOTS);
        if let Some(more) = &self.more_roots {
            roots = roots.with_pem_certificate(more.as_slice());
        }
        let context = TlsContext::builder().with_trust_store(roots).build().expect("roots that were checked when read");
        let builder = aws_smithy_http_client::Builder::new().tls_provider(Provider::Rustls(CryptoMode::AwsLc));
        builder.tls_context(context).build_https()
    }
}

fn timeouts() -> aws_sdk_sqs::config::timeout::TimeoutConfig {
    aws_sdk_sqs::config::timeout::TimeoutConfig::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .operation_attempt_timeout(ATTEMPT_TIMEOUT)
        .operation_timeout(OPERATION_TIMEOUT)
        .build()
}

#[cfg(test)]
mod tests {
    use super::Aws;
    use crate::config::Env;

    #[test]
    fn what_lambda_sets_must_be_there() {
        let error = Env::from_fn(|_| None).read(Aws::read).err().expect("nothing is set");
        assert_eq!(error.missing, ["AWS_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"]);
    }

    #[test]
    fn a_services_endpoint_goes_before_the_common_one() {
        let get = |key: &str| match key {
            "AWS_ENDPOINT_URL_SQS" => Some("http://sqs".to_owned()),
            "SSL_CERT_FILE" => None,
            _ => Some("http://all".to_owned()),
        };
        let aws = Env::from_fn(get).read(Aws::read).unwrap();
        assert_eq!(aws.sqs_endpoint.as_deref(), Some("http://sqs"));
        assert_eq!(aws.dynamodb_endpoint.as_deref(), Some("http://all"));
        assert_eq!(aws.s3_endpoint.as_deref(), Some("http://all"));
    }

    #[test]
    fn endpoints_that_are_no_urls_are_all_named() {
        let get = |key: &str| match key {
            "AWS_ENDPOINT_URL" => Some("localhost:9000".to_owned()),
            "AWS_ENDPOINT_URL_SQS" => Some("ftp://sqs".to_owned()),
            "AWS_ENDPOINT_URL_DYNAMODB" => Some("http://".to_owned()),
            "AWS_ENDPOINT_URL_S3" => Some("s3://bucket".to_owned()),
            "SSL_CERT_FILE" => None,
            _ => Some("x".to_owned()),
        };
        let error = Env::from_fn(get).read(Aws::read).err().expect("no endpoint is a URL");
        let named: Vec<_> = error.invalid.iter().map(|text| text.split(' ').next().unwrap()).collect();
        let expected = ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_DYNAMODB", "AWS_ENDPOINT_URL_SQS", "AWS_ENDPOINT_URL_S3"];
        assert_eq!(named, expected);
    }

    #[tokio::test]
    async fn the_roots_can_be_read() {
        let get = |key: &str| (key != "SSL_CERT_FILE").then(|| "https://127.0.0.1:1".to_owned());
        let aws = Env::from_fn(get).read(Aws::read).unwrap();
        // The first use of a connector parses them, and would panic on one that is damaged.
        let error = aws.sqs().list_queues().send().await.unwrap_err();
        assert!(error.as_service_error().is_none());
    }

    #[test]
    fn a_file_of_roots_that_cannot_be_used_is_named() {
        for file in ["/nowhere", "Cargo.toml"] {
            let get = |key: &str| Some(if key == "SSL_CERT_FILE" { file } else { "http://x" }.to_owned());
            let error = Env::from_fn(get).read(Aws::read).err().expect("there are no roots");
            assert!(error.to_string().contains("SSL_CERT_FILE"), "{error}");
        }
        let good = concat!(env!("CARGO_MANIFEST_DIR"), "/src/aws/roots.pem");
        let get = |key: &str| Some(if key == "SSL_CERT_FILE" { good } else { "http://x" }.to_owned());
        assert!(Env::from_fn(get).read(Aws::read).is_ok());
    }
}
