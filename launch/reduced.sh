# To be sourced: settings with which an algorithm trains on the built-in dataset within
# minutes on two cores.
#
# Small networks and short phases. With so few updates the critics' targets must move
# faster (tau) and their values be smaller (reward scale) than in the published
# settings, which configs/ keep; the policy of CQL and Cal-QL must learn faster, and
# they compare 4 actions of each kind instead of 10, and train for less; TD3+BC trusts
# its critic less.

# Sets the array `reduced` to the flags of the algorithm $1: bc, td3_bc, ...
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
    reduced+=(
      --config.agent.tau=0.02
      --config.dataset.reward_transform=affine
      --config.dataset.reward_scale=0.1
    )
  fi
  case "$1" in
    cql | cal_ql)
      reduced+=(
        --config.offline.updates=10000
        --config.offline.eval_every=5000
        --config.online.steps=5000
        --config.online.eval_every=1000
        "--config.agent.actor_hidden_dims=(128, 128)"
        "--config.agent.critic_hidden_dims=(128, 128)"
        --config.agent.actor_learning_rate=3e-4
        --config.agent.cql_weight=1.0
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
    td3_bc)
      reduced+=(
        "--config.agent.hidden_dims=(128, 128)"
        --config.agent.value_weight=1.0
      )
      ;;
    awac)
      reduced+=(
        "--config.agent.hidden_dims=(128, 128)"
        --config.agent.inverse_temperature_online=10.0
      )
      ;;
    *) reduced+=("--config.agent.hidden_dims=(128, 128)") ;;
  esac
}

# What the configs with guidance need besides.
reduced_guidance=(
  --config.guidance.cvae.hidden_dim=128
  --config.guidance.cvae.steps=3000
  --config.guidance.cvae.kl_warmup_start=500
  --config.guidance.cvae.kl_warmup_steps=1000
)
