//! The AWS SDKs' configuration, loaded in `main` only.

use aws_config::{BehaviorVersion, SdkConfig};

/// Loads region, credentials and endpoints as every AWS tool does. `AWS_ENDPOINT_URL_SQS` and
/// `AWS_ENDPOINT_URL_DYNAMODB` are how the same binary runs on a laptop.
pub async fn sdk_config() -> SdkConfig {
    aws_config::load_defaults(BehaviorVersion::v2026_01_12()).await
}
