# To be sourced: settings with which an algorithm trains within minutes on two cores.
#
# Small networks and short phases. With so few updates the critics' targets must move
# faster (tau) than in the published settings, which configs/ keep; the policy of CQL and
# Cal-QL must learn faster, and they compare 4 actions of each kind instead of 10, and
# train for less.
#
# What was found on the built-in dataset is for that alone, since it depends on the size
# of the rewards, which on AntMaze are sparse: values must be smaller (reward scale), CQL
# and Cal-QL less conservative, TD3+BC trusts its critic less, SPOT its behavior model
# more, and AWAC fine-tunes more greedily.

# Sets the array `reduced` to the flags of the algorithm $1 (bc, td3_bc, ...) on the
# dataset $2, by default hopper-demo.
settings_of() {
  reduced=(
    --config.num_seeds=4
    --config.offline.updates=40000
    --config.offline.eval_every=10000
    --config.evaluation.episodes=20
    --config.online.steps=10000
    --config.online.eval_every=2000
  )
  if [ "$1" != bc ]; then
    reduced+=(--config.agent.tau=0.02)
  fi
  case "$1" in
    cql | cal_ql)
      reduced+=(
        --config.offline.updates=10000
        --config.offline.eval_every=5000
        --config.online.steps=4000
        --config.online.eval_every=1000
        "--config.agent.actor_hidden_dims=(128, 128)"
        "--config.agent.critic_hidden_dims=(128, 128)"
        --config.agent.actor_learning_rate=3e-4
        --config.agent.num_samples=4
      )
      ;;
    spot)
      reduced+=(
        --config.offline.updates=45000
        "--config.agent.hidden_dims=(128, 128)"
        "--config.agent.vae_hidden_dims=(128, 128)"
        --config.agent.vae_steps=5000
      )
      ;;
    *) reduced+=("--config.agent.hidden_dims=(128, 128)") ;;
  esac
  if [ "${2:-hopper-demo}" = hopper-demo ]; then
    settings_on_hopper_demo "$1"
  fi
}

# Adds to `reduced` what the algorithm $1 needs on the built-in dataset besides.
settings_on_hopper_demo() {
  if [ "$1" != bc ]; then
    reduced+=(
      --config.dataset.reward_transform=affine
      --config.dataset.reward_scale=0.1
    )
  fi
  case "$1" in
    cql | cal_ql) reduced+=(--config.agent.cql_weight=1.0) ;;
    spot) reduced+=(--config.agent.support_weight=1.0) ;;
    td3_bc) reduced+=(--config.agent.value_weight=1.0) ;;
    awac) reduced+=(--config.agent.inverse_temperature_online=10.0) ;;
  esac
}

# What the configs with guidance need besides.
reduced_guidance=(
  --config.guidance.cvae.hidden_dim=128
  --config.guidance.cvae.steps=3000
  --config.guidance.cvae.kl_warmup_start=500
  --config.guidance.cvae.kl_warmup_steps=1000
)
