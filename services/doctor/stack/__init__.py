"""What is seen from among the containers: volumes, stores, MLflow and the replicas of the prediction service."""
