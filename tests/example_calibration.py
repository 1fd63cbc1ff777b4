"""A calibration without fitted fields, and limits of cleaning, for tests of the site table."""

LIMITS = {
    "max_abs_isomer_shift_mm_s": 2.0,
    "max_abs_vzz_1e21_v_m2": 30.0,
    "max_abs_bhf_t": 60.0,
    "max_abs_moment_mub": 4.5,
    "outlier_mad": 8.0,
}
CALIBRATION = {
    "alpha_mm_s_bohr3": -0.25,
    "reference_density_e_per_bohr3": 15000.0,
    "method_hash": "abc",
    "bhf_scale": 1.2,
    "isomer_shift": {
        "form": "origin",
        "coefficients": [-0.25],
        "covariance": [[0.01**2]],
        "left_out_rmse": 0.02,
        "reference": {"density": 15000.0, "moment": 2.2},
        "range": {"density": [-1.0, 1.0], "moment": [-2.2, 0.8]},
    },
    "field": {"form": None, "reason": "no measured fields"},
}
STATUSES = ("moment_status", "isomer_shift_status", "vzz_status", "bhf_status")
