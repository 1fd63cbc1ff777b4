"""From hyperfine records to learned site properties: cleaning, SOAP, grouped folds, XGBoost."""
