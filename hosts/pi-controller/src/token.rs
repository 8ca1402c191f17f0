//! Asks a running controller for a join token. The token's secret is made here and stays here.

use std::path::Path;
use std::time::Duration;

use mtls::{Context, ContextError, CredentialsError, DialError, Expect, JoinToken, TokenError};
use proto::fleet::v1::tokens_client::TokensClient;
use proto::fleet::v1::{CreateTokenRequest, CreateTokenResponse};

use crate::config::Config;

const TIMEOUT: Duration = Duration::from_secs(10);

/// What kind of token is wished for.
#[derive(Clone, Debug)]
pub struct TokenWish {
    /// How long it lives; at most 7 days.
    pub lifetime: Duration,
    /// How many nodes may join with it.
    pub uses: u32,
    /// The only name that a node may join under.
    pub name: Option<String>,
}

/// There is no token.
#[derive(Debug, thiserror::Error)]
pub enum TokenWishError {
    /// The operator's context cannot be used.
    #[error(transparent)]
    Context(#[from] ContextError),
    /// The context's address is wrong.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// No key could be made.
    #[error(transparent)]
    Key(#[from] CredentialsError),
    /// No token could be put together.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// Nobody answered.
    #[error("no controller at {address}: {why}; start it with pi-controller serve")]
    Unreachable {
        /// Where it was looked for.
        address: String,
        /// In one line.
        why: String,
    },
    /// The controller said no.
    #[error("the controller refused: {0}")]
    Refused(String),
}

/// Asks the controller of a context for a token; `context` is an operator's, or that of the first operator of a state
/// folder.
///
/// # Errors
///
/// [`TokenWishError`].
pub async fn create_token(context: &Path, wish: TokenWish) -> Result<JoinToken, TokenWishError> {
    let context =
        if context.is_dir() { Context::load(&Config::admin_context(context)) } else { Context::load(context) }?;
    let seed = JoinToken::new_seed()?;
    let mut client = TokensClient::new(context.dialer()?.channel(&context.controller, Expect::Controller)?);
    let mut request = tonic::Request::new(CreateTokenRequest {
        public_key: JoinToken::public_key_of(&seed)?.to_vec(),
        lifetime: prost_types::Duration::try_from(wish.lifetime).ok(),
        uses: wish.uses,
        bound_name: wish.name.unwrap_or_default(),
        ..CreateTokenRequest::default()
    });
    request.set_timeout(TIMEOUT);
    let answer = client.create_token(request).await.map_err(|status| match mtls::explain(&status) {
        Some(why) => TokenWishError::Unreachable { address: context.controller.clone(), why },
        None => TokenWishError::Refused(status.message().to_owned()),
    })?;
    let CreateTokenResponse { token_id, cluster_id, ca_public_key_sha256, expires: _ } = answer.into_inner();
    let pin = ca_public_key_sha256.try_into().map_err(|_| TokenError::Form)?;
    Ok(JoinToken::new(&cluster_id, pin, &token_id, seed)?)
}
